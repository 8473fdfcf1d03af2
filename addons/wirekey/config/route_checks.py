"""Checks of all routes together: conflicts that no call can resolve, and routes without effect."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wirekey.core.model_name import ModelName
from wirekey.feature_registry import missing_feature_of_destination, needs
from wirekey.providers.formats import FORMATS
from wirekey.providers.registry import BACKENDS, OWN_PROVIDERS, PROVIDERS, accepts_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.models import Config
    from wirekey.config.problems import Problem
    from wirekey.config.routes import RouteConfig
    from wirekey.config.sources import ConfigSources

WILD = "*?["


def route_conflicts(config: Config, sources: ConfigSources) -> list[Problem]:
    """Return conflicts that no call can resolve. A configuration with one is refused."""
    return [
        *_unknown_providers(config, sources),
        *_sigv4_conflicts(config, sources),
        *_provider_keys_in_clear(config, sources),
        *_unknown_formats(config, sources),
        *_incompatible_fallbacks(config, sources),
    ]


def route_warnings(config: Config) -> list[Problem]:
    """Return routes that can never match, have no key, or have fallbacks in a loop. They do no harm to calls."""
    sources = config._sources  # noqa: SLF001  # of the same package
    faults = [*_shadowed(config, sources), *_keyless(config, sources), *_fallback_loops(config, sources)]
    return sorted(faults, key=lambda fault: fault.line or 0)


def _provider_keys_in_clear(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    """Yield a problem for each key of a provider that a route would send without TLS."""
    own = {str(key) for _, _, settings in config.providers.entries() for key in settings.keys}
    own |= {f"env:{PROVIDERS[name].credentials.setting}" for name in OWN_PROVIDERS}
    for index, route in enumerate(config.routes):
        if route.upstream_url and not route.upstream_url.tls:
            for place, key in enumerate(route.keys):
                if str(key) in own:
                    message = "is a provider's key, which is never sent without TLS. Use a key of this upstream"
                    yield sources.problem(f"routes[{index}].keys[{place}]", message)


def _unknown_formats(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        for pattern in route.format:
            if not any(fnmatchcase(name, pattern) for name in FORMATS):
                message = f"matches no format. The formats are: {', '.join(FORMATS)}"
                yield sources.problem(f"routes[{index}].format", message)
        for pattern in route.called_provider:
            if not any(fnmatchcase(name, pattern) for name in config.providers.names):
                feature = missing_feature_of_destination(pattern)
                message = (
                    needs(feature)
                    if feature
                    else f"matches no provider. The providers are: {', '.join(config.providers.names)}"
                )
                yield sources.problem(f"routes[{index}].called_provider", message)


def _unknown_providers(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    named = {f"routes[{index}].provider": route.provider for index, route in enumerate(config.routes)}
    for key, name in {"default_backend": config.default_backend, **named}.items():
        if name and name not in {*config.providers.names, *BACKENDS}:
            names = ", ".join(dict.fromkeys((*OWN_PROVIDERS, *BACKENDS, *config.providers.names)))
            message = f"is not a provider. The providers are: {names}"
            yield sources.problem(key, message)


def _sigv4_conflicts(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    bedrock = config.providers.bedrock
    signs = bedrock.key_source == "inject" and not (bedrock.aws and bedrock.aws.bearer)
    for index, route in enumerate(config.routes):
        if route.auth == "sigv4" and not signs and not route.aws:
            message = "sigv4 needs AWS credentials, and providers.bedrock.aws has none. Set a profile there"
            yield sources.problem(f"routes[{index}].auth", message)
        elif route.auth == "sigv4" and not route.upstream_url and route.named_provider and not route.uses_aws:
            message = f"sigv4 is for AWS, and {route.named_provider} does not accept it. Remove it, or set upstream_url"
            yield sources.problem(f"routes[{index}].auth", message)


def _incompatible_fallbacks(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        for place, text in enumerate(route.fallback):
            name = ModelName.parse(text)
            other = matching(config, name.name)
            target = name.destination or (config.routes[other].named_provider if other is not None else None)
            own = route.named_provider
            families = {name: settings.family for name, _, settings in config.providers.entries() if settings.family}
            own_family, target_family = families.get(own or "", own), families.get(target or "", target)
            # The others accept calls in the formats of several providers.
            known = {own_family, target_family} <= {
                name for name in OWN_PROVIDERS if PROVIDERS[name].formats.rewriting is None
            }
            if own_family and target_family and known and not accepts_format(target_family, own_family):
                message = (
                    f"falls back to {text}, which goes to {target}. It does not accept calls in the format of {own}. "
                    f"Name a model of {own}"
                )
                yield sources.problem(f"routes[{index}].fallback[{place}]", message)


def _shadowed(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        for before, earlier in enumerate(config.routes[:index]):
            if covers(earlier.match, route.match) and has_no_more_conditions(earlier, route):
                line = sources.line(f"routes[{before}]")
                place = f"routes[{before}]" + (f" in line {line}" if line else "")
                message = (
                    f"can never match: {place} ({earlier.match}) comes first and matches every model that "
                    f"{route.match} matches. Move this route before it, or remove it"
                )
                yield sources.problem(f"routes[{index}].match", message)
                break


def _keyless(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        provider = route.named_provider
        if not provider or provider in BACKENDS or route.uses_aws or route.keys or route.upstream_url:
            continue
        takes_key = route.auth in (None, "bearer", "x-api-key", "x-goog-api-key")
        settings = config.providers.of(provider)
        if takes_key and settings.takes_keys and settings.key_source == "inject" and not settings.keys:
            setting = f"{config.providers.setting(provider)}.keys"
            message = f"goes to {provider}, which has no key. Set {setting}, or keys in this route"
            yield sources.problem(f"routes[{index}]", message)


def _fallback_loops(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    """Yield a problem for each route whose fallbacks lead back to it. A call uses only the list of its own route."""
    for index, route in enumerate(config.routes):
        way = _fallback_loop(config, index, route)
        if way:
            message = (
                f"fallback forms a loop ({' → '.join(way)}). A call uses only the list of its own route, so one of "
                "these entries can be removed"
            )
            yield sources.problem(f"routes[{index}].fallback", message)


def _fallback_loop(config: Config, start: int, route: RouteConfig) -> list[str]:
    """Return the models that lead from a route's pattern back to the route. Empty if there is no loop."""
    waiting = [(name, [route.match, name]) for name in route.fallback]
    seen = set()
    while waiting:
        name, way = waiting.pop(0)
        other = matching(config, ModelName.parse(name).name)
        if other == start and len(way) > 2:
            return way
        if other is None or other in seen or other == start:
            continue
        seen.add(other)
        waiting += [(following, [*way, following]) for following in config.routes[other].fallback]
    return []


def has_no_more_conditions(earlier: RouteConfig, later: RouteConfig) -> bool:
    """Return whether each condition of the earlier route, if it has one, is also one of the later route."""
    names = ("format", "called_provider", "operation", "agent", "role")
    return all(getattr(earlier, name) in ((), getattr(later, name)) for name in names)


def matching(config: Config, model: str) -> int | None:
    """Return the index of the first route that matches a model."""
    return next((index for index, route in enumerate(config.routes) if fnmatchcase(model, route.match)), None)


def covers(earlier: str, later: str) -> bool:
    """Return whether every name that matches `later` also matches `earlier`.

    True is certain. False can be wrong if both patterns have wildcards in different places.
    """
    if earlier == later or set(earlier) == {"*"}:
        return True
    if not any(mark in later for mark in WILD):
        return fnmatchcase(later, earlier)
    if any(mark in earlier for mark in "?[") or "[" in later:
        return False
    # Wildcards of the later pattern become characters that only a `*` of the earlier pattern matches.
    return fnmatchcase(later.replace("*", "\0*\0").replace("?", "\0"), earlier)
