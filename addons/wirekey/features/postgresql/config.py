"""The settings of PostgreSQL: `agents`, and those of `audit` that a file does not have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.secrets import SecretRef
from wirekey.config.values import DATABASES, REFERENCES, Seconds, ValueFormat, database_url


def agents_url(value: Any) -> str | SecretRef:
    """Return the URL of the database of the agents, or the reference to it. Raises ValueError without the URL."""
    if isinstance(value, str):
        if value.startswith(REFERENCES):
            return SecretRef.parse(value)
        if value.startswith(DATABASES):
            return database_url(value)
    raise ValueError("must be postgresql://USER@HOST/DATABASE, or a reference (env:NAME) to such a URL")


AgentsURL = Annotated[str | SecretRef, PlainValidator(agents_url), ValueFormat("postgresql://… or a secret reference")]


class AgentsConfig(ConfigGroup):
    """The setting `agents`: where agents are stored."""

    store: AgentsURL | None = Field(
        default=None,
        description="PostgreSQL database of the agents, for several machines. null: a file in the `state` folder. It "
        "needs `secrets.master` and the extra `postgresql`. A URL with a password comes from `env:NAME` or "
        "`file:PATH`.",
        examples=["postgresql://wirekey@db.corp.example/wirekey"],
    )


class AgentsSetting(ConfigGroup):
    """The setting that is added at the top."""

    agents: AgentsConfig = Field(default=AgentsConfig(), description="The store of the agents.")

    @model_validator(mode="after")
    def check_agents_store(self) -> Self:
        """Refuse agents that several machines share without keys that they share. Raises ValueError."""
        secrets = getattr(self, "secrets", None)  # of the whole configuration
        if self.agents.store and not (secrets and secrets.master):
            raise ValueError(
                "agents.store needs secrets.master, from which all machines derive the keys of AWS key pairs, JWTs and "
                "imported credentials"
            )
        return self


class DatabaseSettings(ConfigGroup):
    """The settings that are added to `audit`."""

    timeout: Seconds = Field(
        default=1.0, description="Time in which PostgreSQL must store the intent of a call before the call is sent."
    )
    on_failure: Literal["refuse", "spool"] = Field(
        default="refuse",
        description="Handling of calls while PostgreSQL cannot take their events. refuse: they get 503. spool: they "
        "are recorded in a file in the `state` folder, and moved to the database when it is back.",
    )
