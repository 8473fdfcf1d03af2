"""The parts of features for the process: services that it opens, and what it tells operators about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.feature import FeatureValues
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable

    from mitmproxy.addons.view import View

    from wirekey.addons.base import Addon
    from wirekey.calls.services import Services
    from wirekey.config import Config


class Closable(Protocol):
    """A service that is closed when the process ends."""

    def close(self) -> None:
        """Free what it holds. May block."""


@dataclass(frozen=True, slots=True)
class OpenedService:
    """The part of a feature that is opened at the start, and closed after the last call.

    It is in `Services.opened`, by its type. `open` returns None if it is not configured, and may raise OSError.
    """

    open: Callable[[Config], Closable | None]


@dataclass(frozen=True, slots=True)
class Notices:
    """The part of a feature that tells operators about its services. Each function returns nothing if they are off."""

    warnings: Callable[[Services], Iterable[str]]
    """Lines that are logged at the start."""
    banner: Callable[[Services], Iterable[str]]
    """Lines of the startup banner."""
    notes: Callable[[Services], Iterable[tuple[str, str, str]]]
    """Entries of the live page's section "attention": level, text, and what to do."""


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


def open_services_of_features(config: Config, closing: contextlib.ExitStack) -> FeatureValues:
    """Open the services of all features. `closing` closes them. Raises OSError."""
    opened = []
    for part in parts(OpenedService):
        service = part.open(config)
        if service is not None:
            closing.callback(service.close)
            opened.append(service)
    return FeatureValues.of(opened)
