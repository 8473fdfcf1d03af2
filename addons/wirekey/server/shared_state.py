"""Chooses the shared state: in memory for one process, in the state folder for workers, or on a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.shared_state import MemoryState
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.shared_state import RemoteState, SharedState


@dataclass(frozen=True, slots=True)
class SharedStateServer:
    """The part of a feature that keeps the shared state on a server, for several machines.

    `make` returns the state, not started yet, or None if the configuration names no such server. It may raise
    ConfigError.
    """

    make: Callable[[Config], RemoteState | None]


def shared_state(config: Config, *, is_worker: bool) -> SharedState:
    """Return the shared state of a configuration, not started yet. Raises ConfigError."""
    if remote := remote_state(config):
        return remote
    if is_worker:
        from wirekey.core.shared_state.sqlite import FILE, SqliteState

        return SqliteState(config.state / FILE)
    return MemoryState()


def remote_state(config: Config) -> RemoteState | None:
    """Return the state on the server that a configuration names, not started yet, or None. Raises ConfigError."""
    made = (part.make(config) for part in parts(SharedStateServer))
    return next((state for state in made if state), None)
