"""Translates the response to a translated request: whole, streamed or an error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.lenient_json import mended_json
from wirekey.features.translation import neutral as n
from wirekey.features.translation.failures import GENERATED, OWN_CODES, TOO_LONG, UNREADABLE, read_failure
from wirekey.features.translation.formats import format_of
from wirekey.features.translation.held_bytes import held_bytes
from wirekey.features.translation.members import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wirekey.features.translation.format_rules import FormatRules
    from wirekey.features.translation.reply import Reply

WRONG_TYPES = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""Exceptions that mean that a provider sent a member of another type, or deeper, than its documentation says."""
MAX_WAITING = 4 * 1024 * 1024
_EVENT_BYTES = 100


@dataclass(frozen=True, slots=True)
class TranslatedResponse:
    """A whole response or an error in the client's format. `failure` is None if the provider made a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: n.ProviderError | None = None


def translate_response(
    status: int, body: bytes, reply: Reply, headers: Mapping[str, str] | None = None
) -> TranslatedResponse:
    """Return a whole response of the upstream in the client's format.

    An error of the upstream becomes an error of the client's format; a body that cannot be read becomes a 502.
    """
    upstream = reply.context.upstream
    if status >= 400:
        return error_response(read_failure(upstream.name, status, body, headers), reply)
    try:
        return _whole_response(status, body, reply, headers)
    except (msgspec.DecodeError, *WRONG_TYPES):
        mended = mended_json(body)
    try:
        if mended is not None:
            return _whole_response(status, mended, reply, headers)
    except (msgspec.DecodeError, *WRONG_TYPES):
        pass
    return error_response(_unreadable(upstream, body), reply)


def _whole_response(status: int, body: bytes, reply: Reply, headers: Mapping[str, str] | None) -> TranslatedResponse:
    upstream, client = format_of(reply.context.upstream), format_of(reply.context.client)
    found = upstream.read_response(body)
    if isinstance(found, n.ProviderError):
        return error_response(found, reply)
    if not found.blocks and b'"error"' in body[:200]:
        return error_response(read_failure(upstream.name, status, body, headers), reply)
    if any(isinstance(block, n.Media) for block in found.blocks):
        return error_response(GENERATED, reply)
    if not client.cites and any(isinstance(one, n.Text) and one.annotations for one in found.blocks):
        reply.context.losses.dropped.add("citations")
    if found.usage.input is None or found.usage.output is None:
        reply.context.losses.report("usage")
    written = client.write_response(found, reply)
    return TranslatedResponse(200, {"content-type": "application/json"}, encode(written))


def _unreadable(upstream: FormatRules, body: bytes) -> n.ProviderError:
    """Return the error that a successful response holds instead of a response, if it holds one."""
    if body.lstrip()[:1] in {b"{", b"["} and b'"error"' in body[:200]:
        return read_failure(upstream.name, 200, body)
    return UNREADABLE


def error_response(failure: n.ProviderError, reply: Reply) -> TranslatedResponse:
    """Return an error in the client's format."""
    client = format_of(reply.context.client)
    status, body = client.error(failure)
    if failure.code in OWN_CODES:
        status = failure.status
    headers = {"content-type": "application/json"}
    if failure.retry_after is not None:
        headers["retry-after"] = str(math.ceil(failure.retry_after))
    return TranslatedResponse(status, {**headers, **client.error_headers(failure)}, encode(body), failure)


@dataclass(slots=True)
class Sequencer:
    """Orders interleaved blocks one after the other, for formats that cannot interleave them.

    Events of a block that begins while another is open wait, up to 4 MiB of text, until that one ends.
    """

    open: int | None = None
    waiting: dict[int, list[n.Event]] = field(default_factory=dict)
    held: int = 0

    def order(self, event: n.Event) -> list[n.Event]:
        """Return the events that may be written now."""
        match event:
            case n.BlockBegin() if self.open is None:
                self.open = event.index
            case n.BlockBegin():
                self.waiting[event.index] = []
                return self._wait(event)
            case n.Delta() | n.StateDelta() | n.CitationDelta() | n.BlockEnd() if event.index != self.open:
                return self._wait(event)
            case n.BlockEnd():
                self.open = None
                return [event, *self._next()]
        return [event]

    def _wait(self, event: n.BlockBegin | n.Delta | n.StateDelta | n.CitationDelta | n.BlockEnd) -> list[n.Event]:
        if event.index not in self.waiting:
            return []
        self.held += _size(event)
        if self.held > MAX_WAITING:
            return [TOO_LONG]
        self.waiting[event.index].append(event)
        return []

    def _next(self) -> list[n.Event]:
        found: list[n.Event] = []
        while self.waiting:
            index = next(iter(self.waiting))
            events = self.waiting.pop(index)
            found += events
            self.held -= sum(map(_size, events))
            if not isinstance(events[-1], n.BlockEnd):
                self.open = index
                break
        return found


def _size(event: n.Event) -> int:
    """Return the bytes that an event takes while it waits, about."""
    return _EVENT_BYTES + (held_bytes(event.text) if isinstance(event, n.Delta) else 0)


class StreamTranslator:
    """Translates the bytes of a stream as they pass. The same bytes give the same result, however they were cut.

    `failure` is set after an error of the upstream, a truncated stream, or one that cannot be translated.
    """

    def __init__(self, reply: Reply) -> None:
        client = format_of(reply.context.client)
        self.reader = format_of(reply.context.upstream).event_reader()
        self.writer = client.event_writer(reply)
        self.sequencer = None if client.interleaves else Sequencer()
        self.begun = False
        self.failure: n.ProviderError | None = None
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the next bytes of the upstream."""
        text = self.reader.text_of(data) if self.begun and not self.ended else None
        if text is not None:
            if self.sequencer is None or self.sequencer.open == text.index:
                return self.writer.delta(text)
            return self._translated(lambda: (text,))
        return self._translated(self.reader.feed, data)

    def end(self) -> bytes:
        """Return the client's last bytes, after the upstream ended cleanly."""
        return self._translated(self.reader.end)

    def _translated(self, read: Callable[..., Iterable[n.Event]], *data: bytes) -> bytes:
        """Return the client's bytes for what is read. Members of wrong types end the stream with an error."""
        if self.ended:
            return b""
        found = bytearray()
        try:
            for event in read(*data):
                for one in self.sequencer.order(event) if self.sequencer else (event,):
                    found += self._write(one)
        except WRONG_TYPES:
            self.failure, self.ended = UNREADABLE, True
            found += self.writer.write(UNREADABLE)
        return bytes(found)

    def _write(self, event: n.Event) -> bytes:
        if self.ended:
            return b""
        if self.begun and type(event) is n.Delta:
            return self.writer.write(event)  # as nearly all events are
        started = b""
        if not self.begun and not isinstance(event, n.ProviderError):
            self.begun = True
            if not isinstance(event, n.Begin):
                started = self.writer.write(n.Begin(None, None))
        if isinstance(event, n.ProviderError):
            self.failure, self.ended = event, True
        elif isinstance(event, n.End):
            self.ended = True
        return started + self.writer.write(event)
