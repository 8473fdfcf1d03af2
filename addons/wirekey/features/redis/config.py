"""The setting `shared_state`: the server."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator

from wirekey.config.group import ConfigGroup
from wirekey.config.problems import ConfigError
from wirekey.config.secrets import SecretRef
from wirekey.config.values import REFERENCES, ValueFormat

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.features.redis.state import RedisState

STATE_SCHEMES = tuple(scheme + way for scheme in ("redis", "rediss") for way in ("", "+sentinel", "+cluster"))


def shared_state_url(value: Any) -> str | SecretRef:
    """Return the URL of a Redis server, or the reference to it. Raises ValueError without the URL."""
    if isinstance(value, str):
        if value.startswith(REFERENCES):
            return SecretRef.parse(value)
        parts = urlsplit(value)
        if parts.scheme in STATE_SCHEMES and parts.netloc:
            if parts.password is not None:
                raise ValueError(
                    "contains a password. Put the whole URL in an environment variable or a file, and write env:NAME "
                    "or file:PATH here"
                )
            return value
    raise ValueError("must be redis://HOST:PORT/NUMBER, rediss://…, or a reference (env:NAME) to one")


SharedStateURL = Annotated[
    str | SecretRef, PlainValidator(shared_state_url), ValueFormat("redis://…, rediss://… or a secret reference")
]


class SharedStateSetting(ConfigGroup):
    """The setting `shared_state`."""

    shared_state: SharedStateURL | None = Field(
        default=None,
        description="Redis or Valkey server for the state that several machines share: limits, budgets, cool-downs of "
        "keys and of Google accounts, used signatures, uploads and sessions. null: one machine, whose workers share a "
        "file in `state`. Also redis+sentinel://HOST:PORT,HOST:PORT/NAME and redis+cluster://HOST:PORT. rediss: with "
        "TLS.",
        examples=["redis://redis.corp.example:6379/0"],
    )


def state_of(config: Config) -> RedisState | None:
    """Return the state on the server that the configuration names, not started yet, or None. Raises ConfigError."""
    setting = config.part(SharedStateSetting).shared_state
    if setting is None:
        return None
    if find_spec("redis") is None:
        raise ConfigError(
            [config.problem("shared_state", "needs the package redis. Install it: pip install 'wirekey[redis]'")]
        )
    from wirekey.features.redis.state import RedisState

    return RedisState(config.secret_of(setting, "shared_state"))
