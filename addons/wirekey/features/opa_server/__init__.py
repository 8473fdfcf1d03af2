"""Decisions of calls by an Open Policy Agent server, in place of the built-in engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.config.policy import PolicyConfig
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.policy.engine import PolicyEngine


def parts() -> tuple[object, ...]:
    """Return what an OPA server adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.policy.deciding_server import DecidingServer
    from wirekey.features.opa_server.config import OpaSetting

    return AddedSettings({"policy": OpaSetting}), DecidingServer(url_of, connect)


def url_of(policy: PolicyConfig) -> str | None:
    """Return the URL of the OPA server, or None if it is not configured."""
    from wirekey.features.opa_server.config import OpaSetting

    return policy.opa_url if isinstance(policy, OpaSetting) else None


def connect(policy: PolicyConfig, proxy_for: ProxyFor) -> PolicyEngine:
    """Return the engine that sends calls to the server. Raises PolicyError."""
    from wirekey.features.opa_server.engine import RemoteEngine

    url = url_of(policy)
    assert url
    return RemoteEngine(url, policy.query, policy.timeout, proxy_for)


FEATURE = Feature("opa_server", parts)
