"""The setting `identity`: how agents identify themselves."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Flag


class IdentityConfig(ConfigGroup):
    """The setting `identity`: how agents identify themselves."""

    required: Flag = Field(
        default=True,
        description="Refuse calls without an agent token. If false, such calls have no agent and no role, and have "
        "the permissions `web:read` and `web:write`.",
    )
