"""From a configuration to its routes. No I/O but the reading of secrets and the import of functions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.config import ConfigError, function_problems
from wirekey.config.feature_settings import values_of_route
from wirekey.config.operator_functions import operator_functions
from wirekey.config.values import is_python
from wirekey.core.credentials.aws_source import route_credentials
from wirekey.core.credentials.pool import KeyPool, ProviderKey, SessionAffinity
from wirekey.core.metering.cost import use_price_lists
from wirekey.core.model_name import ModelName
from wirekey.core.routing.candidate import Candidate, Failover, Limits, Upstream
from wirekey.core.routing.conditions import Conditions
from wirekey.core.routing.routes import Route, Routes
from wirekey.core.routing.translating import translates
from wirekey.providers.registry import BACKENDS, PROVIDERS, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config import Config, UpstreamURL
    from wirekey.config.operator_functions import ModelChooser
    from wirekey.config.routes import RouteConfig, SelectionName
    from wirekey.core.secret import Secret


def provider_pools(config: Config, previous: Mapping[str, KeyPool]) -> dict[str, KeyPool]:
    """Make the pool of each provider. Keys that stay keep their cool-downs and sessions. Raises ConfigError."""
    pools = {}
    for name in config.providers.names:
        selection: SelectionName = getattr(config.providers.of(name), "selection", "round-robin")
        pools[name] = _pool(config, config.resolve_keys(name), selection)
        if name in previous:
            pools[name].carry_over(previous[name])
    return pools


def routes_from(config: Config, pools: Mapping[str, KeyPool], previous: Routes | None = None) -> Routes:
    """Make the routes, without those to backends. Raises ConfigError if a key or an extension is missing."""
    if problems := function_problems(config):
        raise ConfigError(problems)
    defaults = {name: _default(config, name, pools[name]) for name in config.providers.names}
    before = {route.label: route for route in previous.routes} if previous else {}
    routes = [_route(config, index, settings, pools, before) for index, settings in enumerate(config.routes)]
    for route in routes:
        for old in previous.routes if previous else ():
            if route.pool and old.pool:
                route.pool.carry_over(old.pool)
    named = config.model_override
    return Routes(
        defaults,
        routes,
        model_of(named) if named and not is_python(named) else None,
        translates(config),
        config.default_backend if config.default_backend in BACKENDS else None,
    )


def model_chooser(config: Config) -> ModelChooser | None:
    """Return the operator's function that chooses the model of each call. Raises ConfigError."""
    named = config.model_override
    if named is None or not is_python(named):
        return None
    return operator_functions(config).model(named, config._sources.folder)  # noqa: SLF001  # it was checked with the same folder


def failover_of(config: Config) -> Failover:
    """Return the failover settings that hold where a route has none of its own."""
    return Failover(config.failover.max_attempts, config.failover.max_seconds, config.failover.max_retry_after)


def upstream_of(url: UpstreamURL | None) -> Upstream | None:
    """Return the upstream of a configured URL."""
    return Upstream(url.host, url.port, configured=True, path=url.path, tls=url.tls) if url else None


def _pool(config: Config, keys: list[tuple[str, Secret]], selection: SelectionName) -> KeyPool:
    sessions = SessionAffinity(config.session_affinity.ttl, config.session_affinity.max_sessions)
    return KeyPool([ProviderKey(label, secret) for label, secret in keys], selection=selection, sessions=sessions)


def _default(config: Config, name: str, pool: KeyPool) -> Candidate:
    settings, provider = config.providers.of(name), PROVIDERS[name]
    auth, maker = settings.way, None
    if is_python(auth):
        maker = operator_functions(config).credential(auth, config._sources.folder)  # noqa: SLF001  # it was checked with the same folder
        auth = "extension"
    return Candidate(
        name,
        auth,  # type: ignore[arg-type]  # checked by the configuration
        provider_upstream(config, name),
        pool=pool,
        maker=maker,
        without_key=provider.credentials.uses_google or provider.credentials.uses_aws,
        renews_token=provider.credentials.uses_google,
        asks_usage=settings.asks_usage,
    )


def provider_upstream(config: Config, name: str) -> Upstream | None:
    """Return the upstream of a provider's `upstream_url`."""
    settings = config.providers.of(name)
    upstream = upstream_of(settings.upstream_url)
    return replace(upstream, path=upstream.path + settings.upstream_path) if upstream else None


def use_configured_providers(config: Config) -> None:
    """Add the providers that a configuration makes, with their price lists. Raises UserError for an unknown list."""
    made = [made for _, _, settings in config.providers.entries() if (made := settings.made_provider())]
    register(made)
    use_price_lists({each.prices.price_list: each.setting for each in made if each.prices.price_list})


def _route(
    config: Config, index: int, settings: RouteConfig, pools: Mapping[str, KeyPool], before: Mapping[str, Route]
) -> Route:
    old = before.get(f"routes[{index}]")
    pool = None
    if settings.keys:
        own = pools.get(settings.named_provider or "")
        usual = own.selection if own else "round-robin"
        pool = _pool(config, config.resolve_route_keys(index), settings.selection or usual)
    times = settings.timeouts
    auth, maker = settings.auth, None
    if auth and is_python(auth):
        maker = operator_functions(config).credential(auth, config._sources.folder)  # noqa: SLF001  # it was checked with the same folder
        auth = "extension"
    return Route(
        label=f"routes[{index}]",
        pattern=settings.match,
        provider=settings.named_provider,
        upstream=upstream_of(settings.upstream_url),
        auth=auth,  # type: ignore[arg-type]  # checked by the configuration
        pool=pool,
        maker=maker,
        model=model_of(settings.model),
        fallback=tuple(ModelName.parse(name) for name in settings.fallback),
        limits=Limits(times.connect, times.first_byte, times.idle, times.total),
        failover=_failover(config, settings),
        asks_usage=settings.include_stream_usage,
        conditions=conditions_of(settings),
        aws=route_credentials(config, index, old.aws if old else None),
        region=settings.region,
        location=settings.location,
        speaks=settings.speaks,
        features=values_of_route(settings),
    )


def conditions_of(settings: RouteConfig) -> Conditions | None:
    """Return the conditions of a route, or None if it has none."""
    found = Conditions(settings.format, settings.operation, settings.called_provider, settings.agent, settings.role)
    return None if found == Conditions() else found


def _failover(config: Config, settings: RouteConfig) -> Failover:
    own, usual = settings.failover, config.failover
    return Failover(
        usual.max_attempts if own.max_attempts is None else own.max_attempts,
        usual.max_seconds if own.max_seconds is None else own.max_seconds,
        usual.max_retry_after if own.max_retry_after is None else own.max_retry_after,
    )


def model_of(text: str | None) -> ModelName | None:
    """Return the model that a setting names, or None if it names none."""
    return ModelName.parse(text) if text else None
