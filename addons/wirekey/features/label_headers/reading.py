"""Reads labels in the header fields of a request. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.labels import NOTHING, FoundLabels, checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.calls.label_sources import Fields
    from wirekey.core.calls.settings import Settings

TRACE = "traceparent"
"""W3C Trace Context. Wirekey removes it from the request. Its trace id is the label."""
TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "session": ("x-claude-code-session-id", "session_id", "session-id"),
        "sub_agent": ("x-claude-code-agent-id",),
        "parent_agent": ("x-claude-code-parent-agent-id",),
        "originator": ("originator",),
        "trace": (TRACE,),
    }
)
"""Label → the headers of Claude Code, Codex and OpenTelemetry that have it."""


@dataclass(frozen=True, slots=True)
class LabelHeaders:
    """The headers with labels: name in lower case → label. `trace`: the label that has the trace id."""

    labels: Mapping[bytes, str]
    trace: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, Sequence[str]]) -> LabelHeaders | None:
        """Return the headers of these labels, or None without headers."""
        labels = {name.encode(): label for label, names in headers.items() for name in names}
        if not labels:
            return None
        trace = labels.pop(TRACE.encode(), None)
        return cls(labels, trace)

    def read(self, fields: Fields, sent: Fields) -> FoundLabels:
        """Return the labels in header fields without credentials. `sent`: the fields as the client sent them."""
        labels = self.labels
        found = [(labels[name], value) for field, value in fields if (name := field.lower()) in labels]
        if self.trace and len(sent) != len(fields):  # it was removed, as a credential is
            found += [(self.trace, trace_id(value)) for field, value in sent if field.lower() == b"traceparent"]
        return checked((name, value.decode("latin-1").strip()) for name, value in found) if found else NOTHING


def trace_id(value: bytes) -> bytes:
    """Return the trace id in a `traceparent`. If it has none, return an empty text, which is not a valid label."""
    found = TRACE_PARENT.fullmatch(value.strip())
    return found[1] if found else b""


def read(settings: Settings, fields: Fields, sent: Fields) -> FoundLabels:
    """Return the labels in the head of a request."""
    headers = settings.features.find(LabelHeaders)
    return headers.read(fields, sent) if headers else NOTHING
