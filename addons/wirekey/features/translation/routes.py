"""Which routes of a configuration translate, and what each format loses on them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.routing.candidate import Candidate
from wirekey.core.routing.configured import conditions_of, model_of, upstream_of
from wirekey.core.routing.routes import Route, Routes
from wirekey.features.translation.config import is_enabled
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.models import traits_of
from wirekey.features.translation.options import NOTHING_LOST, Lost, lost_options
from wirekey.providers.registry import BACKENDS, PROVIDERS, provider_of_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.config.routes import RouteConfig


@dataclass(frozen=True, slots=True)
class TranslatedRoute:
    """The calls of one format that a route translates. `upstream` is None if the route refuses them."""

    label: str
    client: str
    upstream: str | None
    lost: Lost = NOTHING_LOST


def translated_routes(config: Config) -> Iterator[TranslatedRoute]:
    """Yield the routes of a configuration that lead calls to another format, once for each format of a client."""
    defaults = {name: Candidate(name) for name in PROVIDERS}
    defaults |= {name: Candidate(provider_of_backend(name), backend=name) for name in BACKENDS}
    routes = Routes(defaults, translates=is_enabled(config))
    for index, settings in enumerate(config.routes):
        route = route_of(index, settings)
        for client in FORMATS.values():
            called, (path, _) = client.wire.called, client.wire.paths.of("model", stream=False)
            if called is None:
                continue
            operation = PROVIDERS[called].operations.match_operation("POST", path, {})
            assert operation
            if route.conditions and not route.conditions.hold(operation, called, None):
                continue
            candidate = routes.reached(
                route.candidate(called, defaults), called, operation, path.encode(), route.pattern
            )
            if candidate is None:
                yield TranslatedRoute(route.label, client.name, None)
            elif candidate.speaks:
                upstream = FORMATS[candidate.speaks]
                traits = traits_of(candidate.model.name if candidate.model else "", upstream.traits)
                lost = lost_options(client, upstream, traits)
                yield TranslatedRoute(route.label, client.name, upstream.name, lost)


def route_of(index: int, settings: RouteConfig) -> Route:
    """Return a route as far as it decides on formats: without its keys."""
    return Route(
        f"routes[{index}]",
        settings.match,
        provider=settings.named_provider,
        upstream=upstream_of(settings.upstream_url),
        model=model_of(settings.model),
        conditions=conditions_of(settings),
        speaks=settings.speaks,
    )
