"""The settings that extensions add to the configuration."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import PythonClass, PythonFunction


class ExtensionsSetting(ConfigGroup):
    """The setting `extensions`."""

    extensions: tuple[PythonClass, ...] = Field(
        default=(),
        description="Your own classes whose methods run around each call, in this order.",
        examples=[["python:my_hooks:RateLimit"]],
    )


class CheckSetting(ConfigGroup):
    """The part of the setting `identity` that extensions add."""

    check: PythonFunction | None = Field(
        default=None,
        description="Your own function that returns the agent of a key, or refuses it. It is asked about keys that are "
        "neither an agent token nor an imported token nor a JWT.",
        examples=["python:my_keys:agent"],
    )
