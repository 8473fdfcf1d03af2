"""The objects that the addons share: the configuration in force, and the stores and pools of one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wirekey.core.body_reading.reader import BodyReader
from wirekey.core.call_events import CallEvents
from wirekey.core.calls.agent_signatures import AgentSignatures
from wirekey.core.calls.attempt_state import AttemptSteps
from wirekey.core.calls.calls import Calls
from wirekey.core.calls.client_connections import ClientConnections
from wirekey.core.calls.conversations import Conversations
from wirekey.core.calls.drain import Drain
from wirekey.core.calls.held_bytes import HeldBytes
from wirekey.core.calls.settings import Settings
from wirekey.core.calls.state_sharing import StateSharing
from wirekey.core.calls.upstream_signatures import UpstreamSignatures
from wirekey.core.calls.usage_limits import UsageLimits
from wirekey.core.credentials.uploads import Uploads
from wirekey.core.egress.other_hosts import OtherHosts
from wirekey.core.identity.guess_limit import GuessLimit
from wirekey.core.observing.open_sessions import OpenSessions
from wirekey.core.shared_state import MemoryState
from wirekey.core.wire.connection_pool import ConnectionPool
from wirekey.feature import NO_VALUES
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from pathlib import Path

    from mitmproxy.connection import Client

    from wirekey.core.audit.store import AuditStore
    from wirekey.core.ca.gateway_certificate import ConfiguredCertificate, IssuedCertificate
    from wirekey.core.calls.attempt_rewrite import FindStep
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.proof import TokenReference
    from wirekey.core.policy.engine import PolicyEngine
    from wirekey.core.shared_state import SharedState
    from wirekey.feature import FeatureValues


class Services:
    """The objects that the addons of one process share. `settings` is replaced whole when the configuration changes.

    `Lifecycle` opens it at the start. Until then there are no hosts, no agents and no store, so every call is refused.
    """

    settings: Settings
    agents: AgentStore
    store: AuditStore
    policy: PolicyEngine
    spool_folder: Path
    """The folder of large request bodies: files without names, which end with their calls."""
    gateway_certificate: ConfiguredCertificate | IssuedCertificate | None = None
    opened: FeatureValues = NO_VALUES
    """The services that features have opened at the start."""

    def __init__(self) -> None:
        self.settings = Settings(hosts={}, pools={}, other_hosts=OtherHosts(denies=True))
        self.calls = Calls(self)
        self.events = CallEvents()
        self.open_sessions = OpenSessions()
        self.events.observers.append(self.open_sessions)
        self.shared_state: SharedState = MemoryState()
        self.sharing = StateSharing(self)
        self.usage_limits = UsageLimits()
        self.attempt_steps = tuple(parts(AttemptSteps))
        self.upstream_connections = ConnectionPool()
        self.client_connections = ClientConnections()
        self.held_bytes = HeldBytes()
        self.body_reader = BodyReader()
        self.uploads = Uploads()
        self.agent_signatures = AgentSignatures()
        self.upstream_signatures = UpstreamSignatures()
        self.tunnel_agents: WeakKeyDictionary[Client, TokenReference] = WeakKeyDictionary()
        """For each client connection, a reference to the token that it presented at CONNECT."""
        self.guesses: GuessLimit[Client] = GuessLimit()
        self.rewrites: tuple[FindStep, ...] = ()
        """They find the steps of features that change the request of an attempt, in order."""
        self.one_rewrite = asyncio.Lock()
        """Held while a large body is rewritten."""
        self.conversations = Conversations()
        self.drain = Drain()
