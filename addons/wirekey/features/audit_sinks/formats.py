"""How an event is written for a sink. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from wirekey.core.audit.event import AuditEvent

_encode = msgspec.json.Encoder().encode


def event_json(event: AuditEvent) -> bytes:
    """Return an event as JSON on one line: the fields of the audit log that are known, by their names.

    All texts of an event are printable ASCII, so this is ASCII, too.
    """
    return _encode({name: value for name, value in event.items() if value is not None})
