"""Finds out where a changed configuration sends calls, with their keys, that it did not send before.

A person may well move an upstream. Someone else who could write the configuration would do it to get the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.call import Call, Outcome
from wirekey.core.operation import Kind, Operation
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.calls.settings import Settings

CONFIGURATION = Operation("configuration", Body.NONE, Kind.ADMINISTRATION)
"""The operation of the event of a moved upstream."""

type Destinations = Mapping[str, frozenset[str]]
"""Provider, or label of a route → where the configuration sends its calls. Empty: to the provider's own hosts."""


@dataclass(frozen=True, slots=True)
class MovedUpstream:
    """Calls go elsewhere than before. `label` is a provider or a route, the others are addresses for people."""

    label: str
    previous: str
    latest: str

    @property
    def sentence(self) -> str:
        """The change in words, for the log, the console and the audit."""
        return f"calls of {self.label} go to {self.latest}, with their keys, instead of {self.previous}"

    def event(self) -> Call:
        """Return what the audit log records of it. It has no provider, so that it counts as a call of none."""
        call = Call(method="RELOAD", operation=CONFIGURATION, upstream=self.latest)
        call.outcome, call.policy_reason = Outcome.COMPLETED, f"upstream_moved: {self.sentence}"
        return call


def destinations(settings: Settings) -> Destinations:
    """Return where the configuration sends calls."""
    found = {name: frozenset[str]() for name in settings.pools}
    for host, name in settings.hosts.items():
        if PROVIDERS[name].family:  # the configuration names its hosts
            found[name] = found.get(name, frozenset()) | {host}
    found |= {name: frozenset({upstream.authority}) for name, upstream in settings.upstreams.items()}
    for name, candidate in settings.routes.defaults.items():
        if candidate.backend and candidate.upstream and candidate.upstream.configured:
            found[name] = frozenset({candidate.upstream.authority})
    return found | {
        route.label: frozenset({route.upstream.authority}) for route in settings.routes.routes if route.upstream
    }


def moved_upstreams(before: Destinations, after: Destinations) -> Iterator[MovedUpstream]:
    """Yield what goes elsewhere. A new provider or route counts unless calls went to its address before."""
    known = frozenset().union(*before.values())
    for label, places in after.items():
        previous = before.get(label)
        if places == previous or (previous is None and places <= known):
            continue
        yield MovedUpstream(label, shown(previous), shown(places))


def shown(places: frozenset[str] | None) -> str:
    """Return addresses for people."""
    if places is None:
        return "nowhere"
    return ", ".join(sorted(places)) or "the provider's own host"
