"""How an event is written for a sink. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.features.audit_sinks.ocsf import api_activity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.audit.event import AuditEvent

    type Form = Callable[[AuditEvent], Mapping[str, Any]]

_encode = msgspec.json.Encoder().encode


def known_fields(event: AuditEvent) -> Mapping[str, Any]:
    """Return the fields of the audit log that are known, by their names."""
    return {name: value for name, value in event.items() if value is not None}


FORMS: dict[str, Form] = {"wirekey": known_fields, "ocsf": api_activity}
"""Format → the function that returns an event in it, as JSON values."""


def form_of(name: str) -> Form:
    """Return the function that returns an event in a format."""
    return FORMS[name]


def json_line(form: Mapping[str, Any]) -> bytes:
    """Return an event as JSON on one line. All texts of events are printable ASCII, so this is ASCII, too."""
    return _encode(form)
