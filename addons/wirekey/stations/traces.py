"""Traces, where the environment names a collector: made of each call that ended, exported in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from wirekey.failure import described
from wirekey.stations.station import Station

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.observing import traces
    from wirekey.stations.entrance import Entrance
    from wirekey.stations.house import House

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class Traces(Station):
    """Opens after the entrance and closes after it, so that calls which the end interrupts have their spans, too."""

    def __init__(self, house: House, entrance: Entrance) -> None:
        super().__init__(house)
        self.entrance = entrance
        self.traces: traces.Traces | None = None

    def running(self) -> None:
        if not (self.entrance.opened and self.entrance.config):
            return
        environ = self.entrance.config.environ
        if not wanted(environ):
            return
        # Warnings only: an error at the start would end the process, and calls matter more than their traces.
        if reason := self.open(environ):
            logger.warning("No traces are exported: %s", reason)

    def open(self, environ: Mapping[str, str]) -> str | None:
        """Begin to export. Gives the sentence that says why not, where it cannot be."""
        protocol = first(environ, PROTOCOLS) or PROTOCOL
        if protocol != PROTOCOL:
            return f"{protocol} is asked for, and Wirekey speaks {PROTOCOL}. Set OTEL_EXPORTER_OTLP_PROTOCOL to it."
        try:
            from wirekey.observing.traces import open_traces
        except ImportError:
            return "OpenTelemetry is not installed. Install it with: pip install 'wirekey[otel]'"
        with dotenv_too(environ):
            try:
                self.traces = open_traces()
            except Exception as error:
                # Without its message, which may quote what an OTEL_ variable says, passwords too.
                return f"the OTEL_ variables of the environment are not understood ({described(error)})."
        self.house.continues_traces = True
        self.house.activity.watchers.append(self.traces)
        logger.info("Traces of calls are exported to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.")
        return None

    async def done(self) -> None:
        former, self.traces = self.traces, None
        if former:
            self.house.activity.watchers.remove(former)
            await asyncio.to_thread(former.close)


def wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether a collector is named and nobody turned traces off, in OpenTelemetry's own variables."""
    return (
        first(environ, ENDPOINTS) is not None
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() in ("", "otlp")
    )


@contextlib.contextmanager
def dotenv_too(environ: Mapping[str, str]) -> Iterator[None]:
    """Let OpenTelemetry, which reads the process's environment, find what stands in `.env`; and nobody else."""
    added = {name: value for name, value in environ.items() if name.startswith("OTEL_") and name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := environ.get(name, "").strip())), None)
