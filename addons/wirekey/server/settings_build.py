"""From a configuration to the settings that the stations use. No I/O but the reading of secrets."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.calls.client_connections import Deadlines
from wirekey.calls.settings import Settings, Upstream
from wirekey.config import ConfigError, file_access, provider_hosts, unimplemented
from wirekey.credentials.aws_source import aws_credentials
from wirekey.credentials.pool import KeyPool, ProviderKey
from wirekey.egress.names import pattern_of
from wirekey.policy.engine import EmbeddedEngine
from wirekey.policy.remote import RemoteEngine
from wirekey.providers import PROVIDERS
from wirekey.routing.candidate import Candidate
from wirekey.routing.configured import failover_of, provider_pools, routes_from, upstream_of
from wirekey.routing.routes import Routes
from wirekey.secret import Secret
from wirekey.wire.delegate import WireLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config import Config

logger = logging.getLogger(__name__)

SETTLED_AT_START = ("listen", "state", "certs", "log", "upstream_ca", "audit")


def refuse_unimplemented(config: Config) -> None:
    """Raise ConfigError where a setting is not acted on yet that would change what may be called, or how."""
    if unimplemented_settings := unimplemented(config):
        raise ConfigError(unimplemented_settings)


def refuse_open_files(config: Config) -> None:
    """Raise ConfigError where others may change a file of the configuration; log a warning where they may read one."""
    access = file_access(config)
    if access.refused:
        raise ConfigError(access.refused)
    for warning in access.warnings:
        logger.warning("%s", warning)


def needs_restart(previous: Config, latest: Config) -> list[str]:
    """Give the settings that differ and that a running process cannot change."""
    return [name for name in SETTLED_AT_START if getattr(previous, name) != getattr(latest, name)]


def build(config: Config, previous: Settings | None = None) -> Settings:
    """Build the settings of a configuration; resting keys that stay keep resting.

    Raises ConfigError where a secret cannot be read.
    """
    pools = provider_pools(config, previous.pools if previous else {})
    upstreams, modes = {}, {}
    for name in PROVIDERS:
        provider = getattr(config.providers, name)
        if provider.credentials in ("client", "passthrough"):
            modes[name] = provider.credentials
        if upstream := upstream_of(provider.upstream):
            upstreams[name] = upstream
    return Settings(
        hosts=provider_hosts(config),
        pools=pools,
        upstreams=upstreams,
        credentials=modes,
        aws=aws_credentials(config, previous.aws if previous else None),
        limits=WireLimits(
            connect=config.timeouts.connect,
            first_byte=config.timeouts.first_byte,
            idle=config.timeouts.idle,
            body_bytes=config.limits.body_bytes,
            header_bytes=config.limits.header_bytes,
            head=config.timeouts.client_head,
            body=config.timeouts.client_body,
            body_rate=config.limits.body_rate,
            stream_resets=config.limits.stream_resets,
            client_buffer=config.limits.client_buffer,
        ),
        header_count=config.limits.headers,
        json_values=config.limits.json_values,
        connections_per_client=config.limits.connections_per_client,
        deadlines=Deadlines(
            first_byte=config.timeouts.client_first_byte,
            hello=config.timeouts.client_hello,
            head=config.timeouts.client_head,
        ),
        held_bytes=config.limits.held_bytes,
        held_bytes_per_agent=config.limits.held_bytes_per_agent
        or max(config.limits.held_bytes // 4, config.limits.body_bytes),
        disk_reserve=config.limits.disk_reserve,
        refusals_per_minute=config.limits.refusals_per_minute,
        other_hosts=config.egress.other_hosts,
        allowed_hosts=pattern_of(config.egress.allow),
        identity_required=config.identity.required,
        cors=frozenset(config.gateway.cors),
        gateway_names=frozenset(config.gateway.names) | {config.listen.gateway.host if config.listen.gateway else ""},
        ask_stream_usage=config.metering.ask_stream_usage,
        routes=routes_from(config, pools, previous.routes if previous else None),
        failover=failover_of(config),
        session_header=config.affinity.header,
        regions=tuple(config.providers.bedrock.regions),
        pool=config.upstream.pool,
    )


def simulated(settings: Settings, port: int, keys: Mapping[str, str]) -> Settings:
    """Let the simulator stand in for all providers and upstreams, with keys that are worth something only to it."""
    upstream = Upstream("127.0.0.1", port, configured=True)
    pools = {name: KeyPool([ProviderKey(f"{name}/simulator", Secret(key))]) for name, key in keys.items()}
    defaults = {name: Candidate(name, upstream=upstream, pool=pool) for name, pool in pools.items()}
    routes = [replace(route, upstream=None, auth=None, pool=None, extension=None) for route in settings.routes.routes]
    return replace(
        settings,
        pools=pools,
        upstreams=dict.fromkeys(PROVIDERS, upstream),
        routes=Routes(defaults, routes, settings.routes.override),
        aws=None,
        credentials={},
        simulated=True,
    )


def policy_engine(config: Config) -> EmbeddedEngine | RemoteEngine:
    """Give what decides. Blocks while the policy is tried. Raises PolicyError."""
    policy = config.deciding
    if policy.opa_url:
        return RemoteEngine(policy.opa_url, policy.query, policy.timeout)
    return EmbeddedEngine(policy.path, policy.query, policy.timeout, wall_timeout=policy.wall_timeout)


async def policy_engine_meanwhile(config: Config) -> EmbeddedEngine | RemoteEngine:
    """Give the same without keeping the event loop from its work."""
    policy = config.deciding
    if policy.opa_url:
        return await asyncio.to_thread(policy_engine, config)
    return await EmbeddedEngine.meanwhile(policy.path, policy.query, policy.timeout, wall_timeout=policy.wall_timeout)
