"""The open CONNECT tunnels to hosts that are not decrypted. Each is one audit event, recorded when it ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.call import Outcome
from wirekey.core.identity.proof import NO_PROOF, Proof
from wirekey.core.operation import Kind, Operation
from wirekey.core.wire.connection_handler import connection_handlers
from wirekey.core.wire.tunnel import TunnelTraffic
from wirekey.core.wire.upstream_connection import ADDRESS_REFUSED
from wirekey.providers.model_hosts import model_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.connection import Server

    from wirekey.core.call import Agent, Call

logger = logging.getLogger(__name__)

TUNNEL = Operation("tunnel", Body.NONE, Kind.LISTING)
"""The operation of a tunnel. Its kind says that it changes nothing in a provider's account."""
MOST_WARNINGS = 1000
"""The number of pairs of agent and host that are remembered, so that each is warned of once."""


@dataclass(slots=True)
class Tunnel:
    """One open tunnel: its call, what proves its agent, and what passed through it."""

    call: Call
    proof: Proof = NO_PROOF
    traffic: TunnelTraffic = field(default_factory=TunnelTraffic)
    server: Server | None = None


class Tunnels:
    """The open tunnels of one process, by client connection.

    `agent_of` returns the agent that a proof identifies at a time. `record` records a call that has ended.
    """

    def __init__(self, agent_of: Callable[[Proof, float], Agent | None], record: Callable[[Call], None]) -> None:
        self._agent_of = agent_of
        self._record = record
        self._open: dict[str, Tunnel] = {}
        """By the id of the client connection."""
        self._warned: set[tuple[str | None, str]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, client_id: str, tunnel: Tunnel) -> None:
        """Add a tunnel that was opened, and warn if it leads to a model service."""
        self._open[client_id] = tunnel
        tunnel.call.status = 200
        self._warn(tunnel.call)

    def find(self, client_id: str) -> Tunnel | None:
        """Return the tunnel of a client connection, if it has one."""
        return self._open.get(client_id)

    def end(self, client_id: str) -> None:
        """Record the tunnel of a client connection that has ended, if it has one."""
        if tunnel := self._open.pop(client_id, None):
            settle(tunnel)
            self._record(tunnel.call)

    def end_all(self) -> None:
        """Record all tunnels when the process ends."""
        for client_id in tuple(self._open):
            self._open[client_id].call.outcome = Outcome.INTERRUPTED
            self.end(client_id)

    def end_withdrawn(self) -> None:
        """Close the tunnels whose agent was revoked. Called twice a second."""
        for client_id, tunnel in self._open.items():
            proof, call = tunnel.proof, tunnel.call
            if not proof or call.outcome or self._agent_of(proof, proof.accepted_at) is not None:
                continue
            call.outcome, call.policy_reason = Outcome.INTERRUPTED, "agent_revoked"
            handler = connection_handlers.get(client_id)
            if handler and handler.client in handler.transports:
                handler.close_connection(handler.client)

    def _warn(self, call: Call) -> None:
        """Warn once for each agent and host of a tunnel to a model service, whose calls Wirekey does not see."""
        host = call.upstream or ""
        agent = call.agent.id if call.agent else None
        if (agent, host) in self._warned or len(self._warned) >= MOST_WARNINGS:
            return
        if service := model_service(host):
            self._warned.add((agent, host))
            logger.warning(
                "agent %s opened a tunnel to %s (%s). The policy does not see model calls there, and they are not "
                "metered. To refuse them, remove the host from egress.allow, or deny the operation tunnel.",
                agent or "-",
                host,
                service,
            )


def settle(tunnel: Tunnel) -> None:
    """Complete the event of a tunnel that has ended."""
    call, traffic = tunnel.call, tunnel.traffic
    call.request_bytes, call.response_bytes = traffic.sent, traffic.received
    error = tunnel.server.error if tunnel.server else None
    call.attempts = int(traffic.is_connected or error is not None)
    if call.outcome is not None:
        return
    if traffic.refused:
        call.outcome, call.policy_result, call.policy_reason = Outcome.DENIED, "deny", traffic.refused
    elif traffic.is_connected:
        call.outcome = Outcome.COMPLETED
    elif error is None:
        call.outcome = Outcome.CLIENT_CANCELLED
    elif ADDRESS_REFUSED in error:
        call.outcome, call.policy_result = Outcome.DENIED, "deny"
        call.policy_reason, call.attempts = f"address_refused: {error}", 0
    else:
        call.outcome, call.policy_reason = Outcome.UPSTREAM_ERROR, "upstream_unreachable"
