"""The settings of the console."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import ValueFormat


def page_name(value: str) -> str:
    """Check a host name of the live page. Raises ValueError."""
    return host_name(value, "the page")


PageName = Annotated[str, AfterValidator(page_name), ValueFormat("host name")]


class ConsoleConfig(ConfigGroup):
    """The setting `console`: access to what its listener serves. Features add to it.

    /health, /ready and the token endpoint are for everyone.
    """

    names: tuple[PageName, ...] = Field(
        default=(),
        description="Host names of the page for browsers, and of `/metrics` for machines in `metrics_from`, in "
        "addition to `localhost` and IP addresses.",
        examples=[["wirekey.corp.example"]],
    )
