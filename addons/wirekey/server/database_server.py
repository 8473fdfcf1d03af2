"""The part of a feature that keeps the audit log and the agents of several machines in a database server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.stored_agents import SharedAgents
    from wirekey.core.secret import Secret


class FollowsAgents(Protocol):
    """Keeps the local copy of the agents as they are in the database. One process of a machine has it."""

    def start(self, loop: asyncio.AbstractEventLoop | None, copied: Callable[[], None]) -> None:
        """Start. After the copy was written, `copied` is called in the loop, or in another thread without one."""

    def stop(self) -> None:
        """Stop. Blocks for at most some seconds."""

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be used at present, or None."""


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """The part of a feature that keeps the audit log and the agents in a database server.

    Each function returns None, or nothing, if the configuration names no such server. They may raise ConfigError.
    """

    audit: Callable[[Config, Secret], AuditDatabase | None]
    """Returns the audit log at the URL of `audit.store`. Nothing is opened yet."""
    agents: Callable[[Config], SharedAgents | None]
    """Returns the agents that several machines share."""
    agents_follower: Callable[[Config, AgentStore], FollowsAgents | None]
    """Returns what keeps the copy of the agents as they are, not started yet. The store is for it alone."""
    secret_variables: Callable[[Config], Iterable[str]]
    """Returns the environment variables from which the client of the server reads secrets."""
