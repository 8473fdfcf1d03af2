"""What is wrong with routes taken together: conflicts that no call could resolve, and routes that do nothing."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wirekey.extension import Extension, ExtensionError
from wirekey.routing.formats import speaks
from wirekey.routing.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.models import Config
    from wirekey.config.problems import Problem
    from wirekey.config.routes import Route
    from wirekey.config.sources import Sources

WILD = "*?["


def route_conflicts(config: Config, sources: Sources) -> list[Problem]:
    """Give what no call could resolve: a configuration with any of it is refused."""
    return [*_unsignable(config, sources), *_foreign_fallbacks(config, sources)]


def route_faults(config: Config) -> list[Problem]:
    """Give routes that can never match, lead nowhere, or fall back in a circle. Calls are none the worse for it."""
    sources = config._sources  # noqa: SLF001  # of the same package
    faults = [*_shadowed(config, sources), *_keyless(config, sources), *_circles(config, sources)]
    return sorted(faults, key=lambda fault: fault.line or 0)


def extension_problems(config: Config) -> list[Problem]:
    """Import the functions that routes name, and give what is wrong with them."""
    sources = config._sources  # noqa: SLF001  # of the same package
    found = []
    for index, route in enumerate(config.routes):
        if route.auth and route.auth.startswith("python:"):
            try:
                Extension.load(route.auth, sources.folder)
            except ExtensionError as error:
                found.append(sources.problem(f"routes[{index}].auth", str(error)))
    return found


def _unsignable(config: Config, sources: Sources) -> Iterator[Problem]:
    bedrock = config.providers.bedrock
    signs = bedrock.key_source == "inject" and not (bedrock.aws and bedrock.aws.bearer)
    for index, route in enumerate(config.routes):
        if route.auth == "sigv4" and not signs:
            message = "sigv4 needs AWS credentials, and providers.bedrock.aws has none. Set a profile there"
            yield sources.problem(f"routes[{index}].auth", message)
        elif route.auth == "sigv4" and not route.upstream_url and route.named_provider not in (None, "bedrock"):
            message = (
                f"sigv4 is AWS's, and {route.named_provider} takes no AWS signature. Remove it, or set upstream_url"
            )
            yield sources.problem(f"routes[{index}].auth", message)


def _foreign_fallbacks(config: Config, sources: Sources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        for place, text in enumerate(route.fallback):
            name = ModelName.parse(text)
            other = matching(config, name.name)
            target = name.provider or (config.routes[other].named_provider if other is not None else None)
            own = route.named_provider
            if own and target and not speaks(own, target):
                message = (
                    f"falls back to {text}, which goes to {target}, and a call in the format of {own} cannot go there. "
                    f"Name a model of {own}"
                )
                yield sources.problem(f"routes[{index}].fallback[{place}]", message)


def _shadowed(config: Config, sources: Sources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        for before, earlier in enumerate(config.routes[:index]):
            if covers(earlier.match, route.match):
                line = sources.line(f"routes[{before}]")
                place = f"routes[{before}]" + (f" in line {line}" if line else "")
                message = (
                    f"can never match: {place} ({earlier.match}) comes before and takes every model that fits "
                    f"{route.match}. Put this route before it, or remove it"
                )
                yield sources.problem(f"routes[{index}].match", message)
                break


def _keyless(config: Config, sources: Sources) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        provider = route.named_provider
        if not provider or provider == "bedrock" or route.keys or route.upstream_url:
            continue
        takes_key = route.auth in (None, "bearer", "x-api-key", "x-goog-api-key")
        settings = getattr(config.providers, provider)
        if takes_key and settings.key_source == "inject" and not settings.keys:
            message = f"leads to {provider}, for which there is no key. Set providers.{provider}.keys, or keys here"
            yield sources.problem(f"routes[{index}]", message)


def _circles(config: Config, sources: Sources) -> Iterator[Problem]:
    """Find fallbacks that lead back to where they began. A call follows only the list of the route that it takes."""
    for index, route in enumerate(config.routes):
        way = _way_back(config, index, route)
        if way:
            message = (
                f"fallback goes in a circle ({' → '.join(way)}). A call tries only the list of its own route, so that "
                "nothing is lost by removing one of these"
            )
            yield sources.problem(f"routes[{index}].fallback", message)


def _way_back(config: Config, start: int, route: Route) -> list[str]:
    """Give the models from a route's pattern back to it; empty where there is no such way."""
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


def matching(config: Config, model: str) -> int | None:
    """Give the index of the first route that fits a model."""
    return next((index for index, route in enumerate(config.routes) if fnmatchcase(model, route.match)), None)


def covers(earlier: str, later: str) -> bool:
    """Tell whether each name that fits `later` fits `earlier`, as far as it can be told without trying all names.

    True is certain; of patterns that both have wildcards in unlike places, some that are covered are not found.
    """
    if earlier == later or set(earlier) == {"*"}:
        return True
    if not any(mark in later for mark in WILD):
        return fnmatchcase(later, earlier)
    if any(mark in earlier for mark in "?[") or "[" in later:
        return False
    # FlowComments of the later pattern become characters that only a `*` of the earlier one can take.
    return fnmatchcase(later.replace("*", "\0*\0").replace("?", "\0"), earlier)
