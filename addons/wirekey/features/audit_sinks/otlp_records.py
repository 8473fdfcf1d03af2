"""Events as log records of OpenTelemetry, in the JSON form of OTLP. Pure."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.core.audit.event import AuditEvent

EVENT_NAME = "wirekey.call"
INFO, WARN = (9, "INFO"), (13, "WARN")
_encode = msgspec.json.Encoder().encode


def request_of(events: Iterable[tuple[AuditEvent, Mapping[str, Any]]], host: str, now: float | None = None) -> bytes:
    """Return the body of a request with a record for each pair of an event and its form for this sink.

    `now`: Unix seconds.
    """
    observed = str(int((time.time() if now is None else now) * 1e9))
    resource = {"service.name": "wirekey", "service.version": __version__, "host.name": host}
    records = [record_of(event, form, observed) for event, form in events]
    scope = {"scope": {"name": "wirekey.audit"}, "logRecords": records}
    return _encode({"resourceLogs": [{"resource": {"attributes": pairs(resource)}, "scopeLogs": [scope]}]})


def record_of(event: AuditEvent, form: Mapping[str, Any], observed: str) -> dict[str, Any]:
    """Return the record of an event. `observed`: the nanoseconds of now. Its body is `form`."""
    number, text = INFO if event["outcome"] == "completed" else WARN
    return {
        "timeUnixNano": str(nanoseconds(str(event["time"]))),
        "observedTimeUnixNano": observed,
        "severityNumber": number,
        "severityText": text,
        "eventName": EVENT_NAME,
        "body": value_of(form),
        "attributes": pairs({"wirekey.call.id": event["id"]}),
    }


def nanoseconds(time_text: str) -> int:
    """Return a time of an event, which has milliseconds, in Unix nanoseconds."""
    return int(datetime.fromisoformat(time_text).timestamp() * 1000 + 0.5) * 1_000_000


def pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return names and values as a list of key-value pairs."""
    return [{"key": name, "value": value_of(value)} for name, value in values.items()]


def value_of(value: Any) -> dict[str, Any]:
    """Return a JSON value as OTLP's typed value. Integers are texts, as they may have 64 bits."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [value_of(one) for one in value]}}
        case dict():
            return {"kvlistValue": {"values": pairs(value)}}
    return {}
