"""The setting `secrets`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Reference


class SecretsConfig(ConfigGroup):
    """The setting `secrets`: the secret from which replicas derive their keys."""

    master: Reference | None = Field(
        default=None,
        description="Secret of at least 32 random bytes, in base64 or hex. The keys of JWTs, AWS key pairs, imported "
        "credentials, signed reasoning state and checkpoints derive from it, so replicas with the same secret accept "
        "each other's. Make one with `openssl rand -base64 32`. null: each state folder has keys of its own.",
        examples=["env:WIREKEY_MASTER_KEY"],
    )
    previous: tuple[Reference, ...] = Field(
        default=(),
        description="Secrets whose keys still verify, but sign nothing, while `master` is replaced.",
        examples=[["env:WIREKEY_PREVIOUS_MASTER_KEY"]],
    )

    @model_validator(mode="after")
    def check_previous(self) -> Self:
        """Refuse `previous` without `master`. Raises ValueError."""
        if self.previous and self.master is None:
            raise ValueError("previous needs master, the secret whose keys sign")
        return self
