"""Opens the services that calls need, such as the agents, the policy and the audit."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
from wirekey.server.audit_store import audit_store
from wirekey.server.feature_parts import ServiceStart, begin_services, open_services_of_features, prepare_services
from wirekey.server.installation import agent_store, agents_follower, copy_agents
from wirekey.server.policy_engine import policy_engine
from wirekey.server.retention import Retention
from wirekey.server.revocations import Revocations
from wirekey.server.shared_state import shared_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.server.database_server import FollowsAgents
    from wirekey.server.worker import Worker


@dataclass(slots=True)
class OpenedServices:
    """The services that the lifecycle itself starts, replaces and ends. The others are in `Services`."""

    agents_follower: FollowsAgents | None = None
    """Copies the agents of `agents.store`."""
    revocations: Revocations | None = None
    """The exchange of revocations with other machines."""
    retention: Retention | None = None
    of_features: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """Closes the services of features."""


def open_services(
    services: Services,
    config: Config,
    worker: Worker | None,
    proxy_for: Callable[[str, int], UpstreamProxy | None],
    undo: contextlib.ExitStack,
) -> OpenedServices:
    """Open the services. `undo` closes them.

    `worker`: the connection to the supervisor, if this process is a worker. `proxy_for`: as `Lifecycle.proxy_for`.
    """
    services.spool_folder = config.state / "tmp"
    services.spool_folder.mkdir(mode=0o700, exist_ok=True)
    services.agents = agent_store(config)
    copy_agents(services.agents)
    opened = OpenedServices()
    services.shared_state = shared_state(config, is_worker=worker is not None)
    services.sharing.refuses = config.shared_state_failure == "refuse"
    services.policy = policy_engine(config, proxy_for)
    undo.callback(services.policy.close)
    undo.callback(services.usage_limits.close)
    services.usage_limits.open(config)
    undo.callback(opened.of_features.close)
    services.opened = open_services_of_features(config, services, opened.of_features)
    begin_services(
        services, prepare_services(ServiceStart(config, config, services.agents, proxy_for, services.opened))
    )
    checkpoints = CheckpointKey(services.agents.derived_key(KEY_USE))
    store = audit_store(config, checkpoints, worker.interrupted if worker else ("",))
    if worker is None or worker.does_shared_work:
        opened.agents_follower = agents_follower(config)
        if services.shared_state.is_remote and opened.agents_follower is None:
            opened.revocations = Revocations(
                services.shared_state,
                services.agents,
                lambda: agent_store(config),
                services.calls.tunnels.end_withdrawn,
            )
        opened.retention = Retention(store.database, config, checkpoints)
    store.start()  # last, as its thread takes a while to stop
    services.store = store
    return opened
