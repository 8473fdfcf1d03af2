"""Syslog messages by RFC 5424, and their frames on a connection by RFC 5425 and 6587. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.audit.event import AuditEvent

FACILITIES = {
    "user": 1,
    "daemon": 3,
    "auth": 4,
    "authpriv": 10,
    **{f"local{number}": 16 + number for number in range(8)},
}
WARNING, NOTICE, INFORMATIONAL = 4, 5, 6
NIL = "-"
LONGEST_HOST = 255


def severity_of(event: AuditEvent) -> int:
    """Return the severity of a call: warning if it was denied, notice if it failed, otherwise informational."""
    match event["outcome"]:
        case "denied":
            return WARNING
        case "completed":
            return INFORMATIONAL
    return NOTICE


def message(event: AuditEvent, content: bytes, facility: str, host: str, process: int) -> bytes:
    """Return the message of an event. `content`: the event as it is written, in ASCII.

    The time is that of the call's start. There are no structured data: the content is JSON.
    """
    priority = FACILITIES[facility] * 8 + severity_of(event)
    moment = event["time"] or NIL
    return f"<{priority}>1 {moment} {header_field(host)} wirekey {process} call - ".encode("ascii") + content


def header_field(text: str) -> str:
    """Return a text as a field of the header: visible ASCII characters without spaces, or the sign for none."""
    visible = "".join(character if "!" <= character <= "~" else "_" for character in text)
    return visible[:LONGEST_HOST] or NIL


def frame(content: bytes) -> bytes:
    """Return a message with its length in front (octet counting), as it is sent on a connection."""
    return b"%d %s" % (len(content), content)
