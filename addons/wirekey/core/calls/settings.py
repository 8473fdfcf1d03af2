"""The settings of the process: a configuration with its secrets read and its addresses parsed, ready to use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import TYPE_CHECKING

from wirekey.config import provider_hosts, proxies_in_use
from wirekey.core.calls.client_connections import Deadlines
from wirekey.core.calls.feature_values import values_of_features
from wirekey.core.credentials.aws_source import aws_credentials
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.egress.other_hosts import OtherHosts
from wirekey.core.egress.upstream_proxy import Proxies
from wirekey.core.json_size import VALUES_LIMIT
from wirekey.core.metering.own_prices import OwnPrices, read_own_prices
from wirekey.core.routing.candidate import Candidate, Failover, Upstream
from wirekey.core.routing.configured import (
    failover_of,
    model_chooser,
    provider_pools,
    provider_upstream,
    routes_from,
    use_configured_providers,
)
from wirekey.core.routing.routes import Routes
from wirekey.core.secret import Secret
from wirekey.core.wire.delegate import WireLimits
from wirekey.feature import NO_VALUES
from wirekey.providers.registry import BACKENDS, PROVIDERS, family_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from wirekey.config import Config
    from wirekey.config.operator_functions import ModelChooser
    from wirekey.core.credentials.aws import AwsCredentialCache
    from wirekey.core.routing.candidate import Accounts
    from wirekey.feature import FeatureValues


def no_routes() -> Routes:
    """Return routes that send each call to the host it names, without a key."""
    return Routes({name: Candidate(name) for name in PROVIDERS})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that addons use. A reload replaces the object as a whole, so that no call sees two versions."""

    hosts: Mapping[str, str]
    """Provider host → provider name."""
    pools: Mapping[str, KeyPool]
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """Provider name → the address to connect to instead of the provider's own host."""
    aws: AwsCredentialCache | None = None
    """The AWS credentials that sign calls to Bedrock, or None if Bedrock uses an API key."""
    key_sources: Mapping[str, str] = field(default_factory=dict)
    """Provider name → `client` or `passthrough`, for providers whose key comes from the client."""
    limits: WireLimits = field(default_factory=WireLimits)
    header_count: int = 100
    json_values: int = VALUES_LIMIT
    connections_per_client: int = 256
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Reverse proxies whose X-Forwarded-For is trusted, at the gateway."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    held_bytes: int = 1024 * 1024 * 1024
    disk_reserve: int = 64 * 1024 * 1024
    other_hosts: OtherHosts = field(default_factory=OtherHosts)
    identity_required: bool = True
    cors: frozenset[str] = frozenset()
    """Origins of web pages that may call the gateway."""
    gateway_names: frozenset[str] = frozenset()
    """Names of the gateway in addition to localhost, IP addresses and the provider hosts."""
    include_stream_usage: bool = True
    translated_response: int = 16 * 1024 * 1024
    """Bytes of a response that may be translated as a whole, or repeated by the last event of its stream."""
    routes: Routes = field(default_factory=no_routes)
    failover: Failover = field(default_factory=Failover)
    clamped_models: re.Pattern[str] | None = None
    """The models that accept a temperature of at most 1."""
    default_backend: str | None = None
    """The provider of models that no route matches and whose name belongs to no provider."""
    session_header: str | None = None
    """The header that identifies a session, in lower case; None: all calls of an agent are one session."""
    regions: tuple[str, ...] = ()
    """The regions of Bedrock. The first is the default."""
    proxies: Proxies = field(default_factory=Proxies)
    reuse_connections: bool = True
    """Whether clients share idle upstream connections."""
    model_chooser: ModelChooser | None = None
    """The operator's function that chooses the model of each call."""
    prices: OwnPrices = field(default_factory=OwnPrices)
    """The operator's own prices. `use_own_prices` puts them in force."""
    features: FeatureValues = NO_VALUES
    """The values that features have made of their own settings."""
    simulated: bool = False

    @property
    def places(self) -> frozenset[tuple[str, int]]:
        """The (host, port) pairs that the configuration names. Private addresses are allowed for these."""
        found = [*self.upstreams.values(), *(route.upstream for route in self.routes.routes)]
        backends = [candidate.upstream for candidate in self.routes.defaults.values() if candidate.backend]
        found += [upstream for upstream in backends if upstream and upstream.configured]
        named = {(upstream.host, upstream.port) for upstream in found if upstream}
        return frozenset(named | {(host, 443) for host, name in self.hosts.items() if PROVIDERS[name].family})

    @property
    def backends(self) -> dict[str, Accounts]:
        """The accounts of the enabled backends that have any, by the backend's name."""
        return {name: each.accounts for name, each in self.routes.defaults.items() if each.accounts}

    def is_upstream(self, host: str, port: int) -> bool:
        """Return whether a host is a provider's own, or configured as an upstream."""
        return host in self.hosts or (host, port) in self.places

    @property
    def takes_client_keys(self) -> bool:
        """Whether some calls use a key that the client sends in a header such as `X-OpenAI-Key`."""
        return "client" in self.key_sources.values() or any(route.auth == "client" for route in self.routes.routes)

    def all_pools(self) -> dict[str, KeyPool]:
        """Return all key pools: those of providers by provider name, those of routes by the route's label."""
        return {**self.pools, **{route.label: route.pool for route in self.routes.routes if route.pool}}


def build(config: Config, previous: Settings | None = None) -> Settings:
    """Return the settings of a configuration. Reads the secrets that the configuration refers to.

    `previous` are the settings in use until now. Their keys that stay configured keep their cool-down and sessions.
    Raises ConfigError if a secret cannot be read.
    """
    pools = provider_pools(config, previous.pools if previous else {})
    upstreams, key_sources = {}, {}
    use_configured_providers(config)
    for name, _, provider in config.providers.entries():
        if provider.key_source != "inject":
            key_sources[name] = provider.key_source
        if upstream := provider_upstream(config, name):
            upstreams[name] = upstream
    return Settings(
        hosts=provider_hosts(config),
        pools=pools,
        upstreams=upstreams,
        key_sources=key_sources,
        aws=aws_credentials(config, previous.aws if previous else None),
        limits=WireLimits(
            connect=config.timeouts.connect,
            first_byte=config.timeouts.first_byte,
            idle=config.timeouts.idle,
            body_bytes=config.limits.body_bytes,
            header_bytes=config.limits.header_bytes,
            head=config.timeouts.client_head,
            body=config.timeouts.client_body,
        ),
        header_count=config.limits.headers,
        json_values=config.limits.json_values,
        connections_per_client=config.limits.connections_per_client,
        trusted_proxies=config.listen.trusted_proxies,
        deadlines=Deadlines.of(config.timeouts),
        held_bytes=config.limits.held_bytes,
        disk_reserve=config.limits.disk_reserve,
        other_hosts=OtherHosts.of(config.egress),
        identity_required=config.identity.required,
        cors=frozenset(config.gateway.cors),
        gateway_names=frozenset(config.gateway.names) | {config.listen.gateway.host if config.listen.gateway else ""},
        include_stream_usage=config.metering.include_stream_usage,
        translated_response=config.limits.translated_response,
        routes=routes_from(config, pools, previous.routes if previous else None),
        failover=failover_of(config),
        clamped_models=models_pattern(config.clamp_temperature),
        default_backend=None if config.default_backend in BACKENDS else config.default_backend,
        session_header=config.session_affinity.header,
        regions=tuple(config.providers.bedrock.regions),
        proxies=proxies_in_use(config),
        reuse_connections=config.upstream_connections.reuse,
        model_chooser=model_chooser(config),
        prices=read_own_prices(config.own_prices, config.prices.default),
        features=values_of_features(config, previous.features if previous else NO_VALUES),
    )


def models_pattern(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches the names that one of these patterns matches; None without patterns."""
    return re.compile("|".join(map(translate, patterns))) if patterns else None


def simulated(settings: Settings, port: int, keys: Mapping[str, str]) -> Settings:
    """Return settings that send every call to the simulator.

    `port` is the port of the simulator on this machine, `keys` is provider name → the key that it accepts. A custom
    provider uses the key of its family if it has none there.
    """
    upstream = Upstream("127.0.0.1", port, configured=True)
    accepted = {name: keys[name] if name in keys else keys[family_of(name)] for name in settings.pools}
    pools = {name: KeyPool([ProviderKey(f"{name}/simulator", Secret(key))]) for name, key in accepted.items()}
    upstreams = {name: replace(upstream, path=PROVIDERS[name].hosts.path_prefix) for name in accepted}
    defaults = {name: Candidate(name, upstream=upstreams[name], pool=pool) for name, pool in pools.items()}
    defaults |= {name: replace(defaults["gemini"], backend=name) for name in settings.backends}
    routes = [
        replace(route, upstream=None, auth=None, pool=None, maker=None, aws=None, region=None)
        for route in settings.routes.routes
    ]
    return replace(
        settings,
        pools=pools,
        upstreams=upstreams,
        routes=replace(settings.routes, defaults=defaults, routes=routes),
        aws=None,
        key_sources={},
        proxies=Proxies(),
        simulated=True,
    )
