"""The policy engine that a configuration asks for: the embedded one, or a server that a feature connects to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wirekey.core.policy.deciding_server import deciding_server
from wirekey.core.policy.engine import EmbeddedEngine

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.policy.engine import PolicyEngine


def policy_engine(config: Config, proxy_for: ProxyFor) -> PolicyEngine:
    """Return the engine that decides calls. Blocks while the policy is tried. Raises PolicyError."""
    policy = config.effective_policy
    if server := deciding_server(policy):
        return server.connect(policy, proxy_for)
    return EmbeddedEngine(policy.path, policy.query, policy.timeout)


async def start_policy_engine(config: Config, proxy_for: ProxyFor) -> PolicyEngine:
    """Return the engine that decides calls, without blocking the event loop. Raises PolicyError."""
    policy = config.effective_policy
    if deciding_server(policy):
        return await asyncio.to_thread(policy_engine, config, proxy_for)
    return await EmbeddedEngine.create(policy.path, policy.query, policy.timeout)
