"""Exports a span for each call, if the environment names a collector."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.calls.services import Services
    from wirekey.features.traces import tracer as traces
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class Traces(Addon):
    """Starts and stops the export of spans, which observes the events of calls.

    It starts after `Lifecycle` and stops after it, so that calls which the end of the process interrupts have spans,
    too.
    """

    def __init__(self, services: Services, lifecycle: Lifecycle) -> None:
        super().__init__(services)
        self.lifecycle = lifecycle
        self.traces: traces.CallTracer | None = None

    def running(self) -> None:
        """Start the export, or log why not."""
        if not (self.lifecycle.opened and self.lifecycle.config):
            return
        environ = self.lifecycle.config.environ
        if not wanted(environ):
            return
        # Warnings only: an error at the start would end the process, and calls matter more than their traces.
        if reason := self.open(environ):
            logger.warning("No traces are exported: %s", reason)

    def open(self, environ: Mapping[str, str]) -> str | None:
        """Start the export. Return the reason why it cannot start, or None if it has started."""
        protocol = first(environ, PROTOCOLS) or PROTOCOL
        if protocol != PROTOCOL:
            return f"The protocol {protocol} is not supported. Set OTEL_EXPORTER_OTLP_PROTOCOL to {PROTOCOL}."
        try:
            from wirekey.features.traces.tracer import open_call_tracer
        except ImportError:
            return "OpenTelemetry is not installed. Install it with: pip install 'wirekey[otel]'"
        with dotenv_too(environ):
            try:
                self.traces = open_call_tracer()
            except Exception as error:
                # Without its message, which may quote the value of an OTEL_ variable, such as a password.
                return f"The OTEL_ variables of the environment cannot be used ({safe_traceback(error)})."
        self.services.events.continues_traces = True
        self.services.events.observers.append(self.traces)
        logger.info("Traces of calls are exported to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.")
        return None

    async def done(self) -> None:
        """Export the last spans, and stop."""
        previous, self.traces = self.traces, None
        if previous:
            self.services.events.observers.remove(previous)
            await asyncio.to_thread(previous.close)


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables name a collector, and do not turn traces off."""
    return (
        first(environ, ENDPOINTS) is not None
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() in ("", "otlp")
    )


@contextlib.contextmanager
def dotenv_too(environ: Mapping[str, str]) -> Iterator[None]:
    """Add the OTEL_ variables of `.env` to the environment of the process, which OpenTelemetry reads."""
    added = {name: value for name, value in environ.items() if name.startswith("OTEL_") and name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Return the value of the first of these variables that is set, without spaces around it."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)
