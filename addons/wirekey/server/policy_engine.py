"""The policy engine that a configuration asks for: the embedded one, or an OPA server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wirekey.policy.engine import EmbeddedEngine
from wirekey.policy.remote import RemoteEngine

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.egress.upstream_proxy import ProxyFor


def policy_engine(config: Config, proxy_for: ProxyFor) -> EmbeddedEngine | RemoteEngine:
    """Return the engine that decides calls. Blocks while the policy is tried. Raises PolicyError."""
    policy = config.effective_policy
    if policy.opa_url:
        return RemoteEngine(policy.opa_url, policy.query, policy.timeout, proxy_for)
    return EmbeddedEngine(policy.path, policy.query, policy.timeout, wall_timeout=policy.wall_timeout)


async def start_policy_engine(config: Config, proxy_for: ProxyFor) -> EmbeddedEngine | RemoteEngine:
    """Return the engine that decides calls, without blocking the event loop. Raises PolicyError."""
    policy = config.effective_policy
    if policy.opa_url:
        return await asyncio.to_thread(policy_engine, config, proxy_for)
    return await EmbeddedEngine.create(policy.path, policy.query, policy.timeout, wall_timeout=policy.wall_timeout)
