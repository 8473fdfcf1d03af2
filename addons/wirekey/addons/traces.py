"""Traces, where the environment names a collector: made of each call that ended, exported in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from wirekey.addons.base import Addon
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.calls.services import Services
    from wirekey.observing import traces
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class Traces(Addon):
    """Opens after the entrance and closes after it, so that calls which the end interrupts have their spans, too."""

    def __init__(self, services: Services, lifecycle: Lifecycle) -> None:
        super().__init__(services)
        self.lifecycle = lifecycle
        self.traces: traces.CallTracer | None = None

    def running(self) -> None:
        if not (self.lifecycle.opened and self.lifecycle.config):
            return
        environ = self.lifecycle.config.environ
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
            from wirekey.observing.traces import open_call_tracer
        except ImportError:
            return "OpenTelemetry is not installed. Install it with: pip install 'wirekey[otel]'"
        with dotenv_too(environ):
            try:
                self.traces = open_call_tracer()
            except Exception as error:
                # Without its message, which may quote what an OTEL_ variable says, passwords too.
                return f"the OTEL_ variables of the environment are not understood ({safe_traceback(error)})."
        self.services.continues_traces = True
        self.services.events.observers.append(self.traces)
        logger.info("Traces of calls are exported to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.")
        return None

    async def done(self) -> None:
        previous, self.traces = self.traces, None
        if previous:
            self.services.events.observers.remove(previous)
            await asyncio.to_thread(previous.close)


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
