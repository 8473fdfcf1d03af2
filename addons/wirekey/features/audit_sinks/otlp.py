"""An OpenTelemetry collector as a sink: OTLP over HTTP, in JSON."""

from __future__ import annotations

import gzip
import socket
from typing import TYPE_CHECKING

import msgspec

from wirekey.features.audit_sinks.formats import form_of
from wirekey.features.audit_sinks.http import HttpTarget
from wirekey.features.audit_sinks.otlp_records import request_of
from wirekey.features.audit_sinks.sink import RejectedEventsError, SinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.audit.event import AuditEvent
    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.secret import Secret
    from wirekey.features.audit_sinks.config import AuditSinkConfig


class OtlpSink:
    """A collector. `settings`: of type otlp. `headers`: name → secret value. Raises OSError."""

    most = 500
    linger = 0.0
    confirms = True

    def __init__(self, settings: AuditSinkConfig, headers: Mapping[str, Secret], proxy_for: ProxyFor) -> None:
        assert settings.endpoint
        self._target = HttpTarget(settings.endpoint, settings.ca_file, proxy_for)
        self._form = form_of(settings.format)
        self._headers = headers
        self._host = socket.gethostname()
        self.place = self._target.place

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Deliver events. Raises SinkError, RejectedEventsError."""
        response = self._post(request_of(((event, self._form(event)) for event in events), self._host))
        rejected = rejected_records(response.body)
        if rejected >= len(events):
            raise SinkError("it rejects all events of a delivery")
        if rejected > 0:
            raise RejectedEventsError(rejected)

    def check(self) -> None:
        """Send a request without records, which a collector accepts. Raises SinkError."""
        self._post(b'{"resourceLogs":[]}')

    def close(self) -> None:
        """Nothing is open: each request has a connection of its own."""

    def _post(self, body: bytes) -> HttpResponse:
        compressed = gzip.compress(body, 1)
        headers = (
            ("Host", self._target.authority),
            ("User-Agent", "wirekey"),
            ("Content-Type", "application/json"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", str(len(compressed))),
            *((name, value.reveal()) for name, value in self._headers.items()),
        )
        response = self._target.request("POST", self._target.path, headers, compressed)
        if response.status != 200:
            raise SinkError(f"it responds with status {response.status}")
        return response


def rejected_records(body: bytes) -> int:
    """Return how many records a collector has rejected, by its response."""
    try:
        partial = msgspec.json.decode(body)["partialSuccess"]
        return int(partial["rejectedLogRecords"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return 0
