"""The setting that an OPA server adds to the configuration."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import ServerURL


class OpaSetting(ConfigGroup):
    """The part of the setting `policy` that an OPA server adds."""

    opa_url: ServerURL | None = Field(
        default=None, description="URL of an OPA server that decides instead of the built-in engine."
    )
