"""The parts of features for the process: services that it opens, and what it tells operators about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from wirekey.feature import FeatureValues
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mitmproxy.addons.view import View

    from wirekey.config import Config
    from wirekey.core.addons.base import Addon
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.settings import Settings
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.endpoints.reply import LocalHandler
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.routing.candidate import Candidate


@runtime_checkable
class Closable(Protocol):
    """A service that is closed when the process ends."""

    def close(self) -> None:
        """Free what it holds. May block."""


@dataclass(frozen=True, slots=True)
class OpenedService:
    """The part of a feature that is opened at the start, and closed after the last call if it is `Closable`.

    It is in `Services.opened`, by its type. `open` returns None if it is not configured, and may raise OSError. The
    services have the agents, the shared state and the policy by then.
    """

    open: Callable[[Config, Services], object | None]


class ReplacedService(Protocol):
    """A service of one version of the configuration."""

    def begin(self) -> None:
        """Apply the settings. Raises nothing."""


@dataclass(frozen=True, slots=True)
class ServiceStart:
    """The values of which a service is made at the start, and again at each reload.

    `started_with`: the configuration at the start, whose settings that need a restart are in force. `previous`: the
    services until now.
    """

    config: Config
    started_with: Config
    agents: AgentStore
    proxy_for: Callable[[str, int], UpstreamProxy | None]
    previous: FeatureValues


@dataclass(frozen=True, slots=True)
class ReloadedService:
    """The part of a feature that each reload of the configuration replaces. It is in `Services.opened`, by its type.

    `prepare` does everything that can fail, and may block. `begin` of the service then puts it in force.
    """

    prepare: Callable[[ServiceStart], ReplacedService]


@dataclass(frozen=True, slots=True)
class AddedBackends:
    """The part of a feature with further ways to reach models, each with its name in front of a model.

    `candidates` returns name → candidate of what a configuration enables. It gets the services of features.
    """

    candidates: Callable[[Config, FeatureValues], Mapping[str, Candidate]]


@dataclass(frozen=True, slots=True)
class EventLoopPart:
    """The part of a feature that works within the event loop.

    `begin` runs before there are calls, and after each reload. `end` runs after the last call. Both get the services of
    features.
    """

    begin: Callable[[FeatureValues], None]
    end: Callable[[FeatureValues], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RegularCheck:
    """The part of a feature that runs twice a second, within the event loop.

    `run` gets the services of features, and never blocks or raises.
    """

    run: Callable[[FeatureValues], None]


@dataclass(frozen=True, slots=True)
class AddedEndpoints:
    """The part of a feature with endpoints of Wirekey's own, on the gateway and the console.

    `routes` returns path → handler. It gets functions that return the services of features, which a reload may replace,
    and the port of the listener once that is open. `listed` returns the paths that the startup banner names.
    """

    routes: Callable[[Callable[[], FeatureValues], Callable[[], int | None]], Mapping[str, LocalHandler]]
    listed: Callable[[FeatureValues], Iterable[str]] = lambda _: ()


@dataclass(frozen=True, slots=True)
class Notices:
    """The part of a feature that tells operators about its services. Each function returns nothing if they are off."""

    warnings: Callable[[FeatureValues], Iterable[str]]
    """Lines that are logged at the start."""
    banner: Callable[[FeatureValues], Iterable[str]]
    """Lines of the startup banner."""
    notes: Callable[[FeatureValues], Iterable[tuple[str, str, str]]]
    """Entries of the live page's section "attention": level, text, and what to do."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as it is now: samples by the values of their labels. The name of a counter ends with `_total`."""

    name: str
    kind: Literal["gauge", "counter"]
    documentation: str
    labels: tuple[str, ...]
    samples: Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Measures:
    """The part of a feature that has metrics. Without its service, they have no samples.

    The samples of several workers are added, so that only one of them has those of what it does for all.
    """

    read: Callable[[FeatureValues], Iterable[Measure]]


@dataclass(frozen=True, slots=True)
class NextCommand:
    """The part of a feature that is a line at the end of the startup banner: a purpose, and the command for it.

    It is shown if the listener of this name is open.
    """

    purpose: str
    command: str
    listener: str


@dataclass(frozen=True, slots=True)
class PageAddon:
    """The part of a feature that is an addon of mitmweb's page, in `wirekey serve --web`."""

    make: Callable[[Services, View], Addon]


def open_services_of_features(config: Config, services: Services, closing: contextlib.ExitStack) -> FeatureValues:
    """Open the services of all features. `closing` closes them. Raises OSError."""
    opened = []
    for part in parts(OpenedService):
        service = part.open(config, services)
        if isinstance(service, Closable):
            closing.callback(service.close)
        if service is not None:
            opened.append(service)
    return FeatureValues.of(opened)


def prepare_services(start: ServiceStart) -> list[ReplacedService]:
    """Prepare the services of features that follow the configuration. Blocks. Raises UserError, OSError."""
    return [part.prepare(start) for part in parts(ReloadedService)]


def begin_services(services: Services, prepared: Iterable[ReplacedService]) -> None:
    """Use prepared services. Raises nothing."""
    for service in prepared:
        services.opened = services.opened.plus(service)
        service.begin()


def with_backends(settings: Settings, config: Config, opened: FeatureValues) -> Settings:
    """Return settings whose routes may lead to the backends of features that a configuration enables."""
    found = dict(settings.routes.defaults)
    for part in parts(AddedBackends):
        found.update(part.candidates(config, opened))
    return replace(settings, routes=replace(settings.routes, defaults=found))


def begin_in_event_loop(opened: FeatureValues) -> None:
    """Begin what features do within the event loop, before there are calls and after each reload."""
    for part in parts(EventLoopPart):
        part.begin(opened)


async def end_in_event_loop(opened: FeatureValues) -> None:
    """End what features do within the event loop."""
    for part in parts(EventLoopPart):
        await part.end(opened)
