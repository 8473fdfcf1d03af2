"""The settings `identity` and `agents`: how agents identify themselves, and where they are stored."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AgentsURL, Flag


class IdentityConfig(ConfigGroup):
    """The setting `identity`: how agents identify themselves."""

    required: Flag = Field(
        default=True,
        description="Refuse calls without an agent token. If false, such calls have no agent and no role, and have "
        "the permissions `web:read` and `web:write`.",
    )


class AgentsConfig(ConfigGroup):
    """The setting `agents`: where agents are stored."""

    store: AgentsURL | None = Field(
        default=None,
        description="PostgreSQL database of the agents, for several machines. null: a file in the `state` folder. It "
        "needs `secrets.master` and the extra `postgresql`. A URL with a password comes from `env:NAME` or "
        "`file:PATH`.",
        examples=["postgresql://wirekey@db.corp.example/wirekey"],
    )
