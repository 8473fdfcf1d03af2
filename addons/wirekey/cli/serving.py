"""A request to run `wirekey serve`, and the part of a feature that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    from wirekey.config import Config


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The options of mitmweb's page: its port, and whether it shows the responses of models."""

    port: int
    keeps_responses: bool


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """The configuration to serve, with mitmweb if there is a `page`. `simulator`: as `Lifecycle.simulator_wanted`."""

    config: Config
    page: WebOptions | None
    simulator: bool | None


@dataclass(frozen=True, slots=True)
class Serving:
    """The part of a feature that runs `wirekey serve` in place of the core.

    `options` returns further options of the command. `run` gets their values by name, and returns the exit code.
    """

    options: Callable[[], Sequence[click.Parameter]]
    run: Callable[[ServeRequest, Mapping[str, Any]], int]
