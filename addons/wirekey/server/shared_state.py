"""Chooses the shared state: in memory for one process, in the state folder for workers, or a Redis server."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import SecretRef
from wirekey.config.values import REFERENCES
from wirekey.secret import Secret
from wirekey.shared_state import MemoryState

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.shared_state import SharedState


def shared_state(config: Config, *, is_worker: bool) -> SharedState:
    """Return the shared state of a configuration, not started yet. Raises ConfigError."""
    if config.shared_state:
        if find_spec("redis") is None:
            raise ConfigError(
                [config.problem("shared_state", "needs the package redis. Install it: pip install 'wirekey[redis]'")]
            )
        from wirekey.shared_state.redis import RedisState

        return RedisState(url_of(config, config.shared_state))
    if is_worker:
        from wirekey.shared_state.sqlite import FILE, SqliteState

        return SqliteState(config.state / FILE)
    return MemoryState()


def url_of(config: Config, setting: str) -> Secret:
    """Return the URL of the server, which may be a reference to a secret. Raises ConfigError."""
    if not setting.startswith(REFERENCES):
        return Secret(setting)
    found = config.resolve(SecretRef.parse(setting), "shared_state")
    if isinstance(found, Problem):
        raise ConfigError([found])
    return found
