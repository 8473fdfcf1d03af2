"""Lines of `config check`, and findings of doctor, about the routes that translate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.cli.config_checks import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.features.translation.routes import TranslatedRoute


def lines(config: Config) -> list[str]:
    """Return a line for each route that translates: the formats from which and to which."""
    from wirekey.features.translation.routes import translated_routes

    found: dict[tuple[str, str], list[str]] = {}
    for route in translated_routes(config):
        if route.upstream is not None:
            found.setdefault((route.label, route.upstream), []).append(route.client)
    return [f"{label} translates {', '.join(clients)} to {upstream}" for (label, upstream), clients in found.items()]


def findings(config: Config) -> Iterator[Finding]:
    """Name the routes that translate, and what a request may lose on each."""
    from wirekey.features.translation.routes import translated_routes

    return map(finding_of, translated_routes(config))


def finding_of(route: TranslatedRoute) -> Finding:
    """Report what calls of one format lose on a route, or that it refuses them."""
    subject = f"{route.label} {route.client}"
    if route.upstream is None:
        fix = "call the provider in its own format, or set translation.enabled: true"
        return Finding("routes", subject, Level.SKIPPED, "calls in this format are refused", fix)
    lost = route.lost
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (("changes", lost.adjusted), ("drops", lost.dropped), ("refuses", lost.refused))
        if names
    ]
    return Finding("routes", subject, Level.OK, "; ".join([f"translated to {route.upstream}", *parts]))
