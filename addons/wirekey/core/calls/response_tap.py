"""The tap that the bytes of a response pass: it counts and reads them, and removes what the client must not get."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from wirekey.core.call import Outcome, elapsed_ms
from wirekey.core.credentials.encoded_search import EncodedSearch, KeyQuoted
from wirekey.core.credentials.scrub import MASK, KeyScrubber
from wirekey.core.errors import INTERNAL_ERROR, Fault, Refusal
from wirekey.core.metering.decoding import DecodingError, StreamDecoder
from wirekey.core.tracebacks import safe_traceback
from wirekey.core.wire.delegate import ResponseRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.response_copy import ResponseCopy
    from wirekey.core.calls.rewriting import ResponseChange, ResponseRewrite
    from wirekey.core.metering.deltas import ResponseMeter
    from wirekey.core.metering.tap import Tap
    from wirekey.providers.openai.usage_filter import UsageEventFilter

logger = logging.getLogger(__name__)

KEY_QUOTED = Refusal(
    502,
    "key_quoted",
    "The compressed response quotes the provider's key, so Wirekey removed the rest of it. Without compression "
    "(Accept-Encoding: identity) the key is masked and the response passes.",
    Fault.PROVIDER,
)
UNSEARCHABLE = Refusal(
    502,
    "upstream_unreadable",
    "The response cannot be decoded, so Wirekey could not search it for the provider's key and removed the rest of it.",
    Fault.PROVIDER,
)


class Filter(Protocol):
    """A step between the bytes of a response and the client."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return what the client gets of the next bytes."""

    def end(self) -> list[bytes]:
        """Return what was held back until the end."""


class RemovedBody:
    """A filter that removes everything: for an error that cannot be decoded, and so could quote the key."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return nothing."""
        return []

    def end(self) -> list[bytes]:
        """Return nothing."""
        return []


class Masked:
    """A filter that masks every byte and keeps the length: for a response of stated length whose scrubber failed."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return a mask of the same length."""
        return [MASK * len(data)]

    def end(self) -> list[bytes]:
        """Return nothing."""
        return []


class TappedCalls(Protocol):
    """The calls whose responses are tapped."""

    def of(self, flow: http.HTTPFlow) -> Call:
        """Return the call of a flow."""

    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        """Return the bytes that end a stream with an error, or None if it cannot end so."""


class ResponseTap:
    """Gets each chunk of a response as it passes, and returns what the client gets.

    Most chunks pass unchanged. A filter removes the key, or the token counts that only Wirekey asked for. A compressed
    response is decompressed before the filter, or it is searched for the key and passes unchanged.
    """

    def __init__(self, calls: TappedCalls, flow: http.HTTPFlow, tap: Tap) -> None:
        self.calls = calls
        self.flow = flow
        self.call = calls.of(flow)
        self.tap = tap
        self.filter: Filter | None = None
        """Masks the key."""
        self.change: ResponseChange | None = None
        """Changes what the filter lets pass, for a feature. The usage is read from its output."""
        self.usage_filter: UsageEventFilter | None = None
        self.search: EncodedSearch | None = None
        self.decoder: StreamDecoder | None = None
        self.copies: tuple[ResponseCopy, ...] = ()
        """Copies of what the client gets."""
        self.rewrite: ResponseRewrite | None = None
        """Writes the response in the client's format."""
        self.meter: ResponseMeter | None = None
        """Decides whether the call may use more. It has the tap's reader."""
        self.is_cut = False
        """Whether the response was ended after a whole event."""
        self.broken = False
        self.received = 0
        self.last_parts: list[bytes] | None = None
        """The parts that the filters held back until the end, if they were taken before it."""

    def __call__(self, data: bytes) -> list[bytes]:
        """Return what the client gets of a chunk; b"" stands for the end. Raises ResponseRefused."""
        # mitmproxy passes b"" at the end. A b"" in the result would end a chunked response early.
        try:
            passed = self.pass_on(data)
        except ResponseRefused as refused:
            self.copy(refused.passed)
            raise
        if self.copies:
            self.copy(passed)
        return passed

    def copy(self, parts: Sequence[bytes]) -> None:
        """Feed the copies with what the client gets."""
        for part in parts:
            for copy in self.copies:
                copy.feed(part)

    def pass_on(self, data: bytes) -> list[bytes]:
        """Return what the client gets of a chunk, also if the tap fails. Raises ResponseRefused."""
        try:
            if data:
                parts = self.feed(data) if self.meter is None else self.metered(self.meter, data)
            else:
                parts = self.end() if self.last_parts is None else self.last_parts
            return self.in_clients_format(parts, at_end=not data) if self.rewrite else parts
        except ResponseRefused:
            raise
        except Exception as error:
            logger.error(  # noqa: TRY400  # without the message
                "a response of %s cannot be filtered: %s",
                self.call.provider,
                safe_traceback(error),
                extra={"call": self.call.id},
            )
            if self.search:
                raise ResponseRefused(UNSEARCHABLE) from error
            if self.rewrite or self.change:
                raise ResponseRefused(INTERNAL_ERROR) from error
            if not isinstance(self.filter, KeyScrubber):
                return [data] if data else []
            data, self.filter = self.filter.held + data, Masked()
            return self.filter.feed(data) if data else []

    def feed(self, data: bytes) -> list[bytes]:
        """Count a chunk, and return what the client gets of it. Raises ResponseRefused."""
        if not self.received:
            self.call.ttfb_ms = elapsed_ms(self.call)
        self.received += len(data)
        if self.decoder:
            return list(self.decoded(self.decoder, data))
        if self.search:
            return self.searched(self.search, data)
        return self.filtered(data)

    def metered(self, meter: ResponseMeter, data: bytes) -> list[bytes]:
        """Return what the client gets of a chunk. Raises ResponseRefused after an event if the call must end."""
        if meter.refusal and meter.reader.is_between_events:
            self.is_cut = True
            raise ResponseRefused(meter.refusal, Outcome.INTERRUPTED)
        parts = self.feed(data)
        meter.note()
        if meter.refusal is None:
            return parts
        whole = b"".join(parts)
        end = meter.reader.whole(whole)
        if end is None:
            return parts
        self.is_cut = True
        passed = [whole[:end]]
        if self.rewrite:
            passed = self.in_clients_format(passed, at_end=False)
        raise ResponseRefused(meter.refusal, Outcome.INTERRUPTED, passed)

    def end(self) -> list[bytes]:
        """Return what the filters held back until the end."""
        if self.broken:
            return []
        if self.search:
            return self.search.end()
        parts = self.filter.end() if self.filter else []
        if self.change:
            parts = [piece for part in parts for piece in self.change.feed(part)]
            parts += self.change.end()
        for part in parts:
            self.read(part)
        return [*self.without_usage(parts), *self.usage_filter.end()] if self.usage_filter else parts

    async def finish_in_thread(self) -> None:
        """Change a large response for a feature, and rewrite it, in a thread.

        The call with b"" that follows returns it. That call also raises what is refused at the end, and handles the
        error of an account.
        """
        if self.change:
            rest = self.filter.end() if self.filter else []
            self.filter = None
            if not await asyncio.to_thread(self.change.finish, rest):
                return
        self.last_parts = self.end()
        if self.rewrite:
            await asyncio.to_thread(self.rewrite.finish, self.last_parts)

    def in_clients_format(self, parts: list[bytes], *, at_end: bool) -> list[bytes]:
        """Return the bytes that the filters let pass, in the client's format. Raises ResponseRefused."""
        assert self.rewrite
        found = [piece for part in parts for piece in self.rewrite.feed(part)]
        return [*found, *self.rewrite.end()] if at_end else found

    def filtered(self, data: bytes) -> list[bytes]:
        """Return what the filters let pass, and read it for usage."""
        parts = self.filter.feed(data) if self.filter else [data]
        if self.change:
            parts = [piece for part in parts for piece in self.change.feed(part)]
        for part in parts:
            self.read(part)
        return self.without_usage(parts)

    def without_usage(self, parts: list[bytes]) -> list[bytes]:
        """Return the bytes without the token counts that only Wirekey asked for."""
        if self.usage_filter is None:
            return parts
        return [piece for part in parts for piece in self.usage_filter.feed(part)]

    def searched(self, search: EncodedSearch, data: bytes) -> list[bytes]:
        """Return compressed bytes that do not quote the key. Raises ResponseRefused if they do."""
        try:
            return search.feed(data, self.read)
        except (KeyQuoted, DecodingError) as found:
            raise ResponseRefused(KEY_QUOTED if isinstance(found, KeyQuoted) else UNSEARCHABLE) from None

    def read(self, data: bytes) -> None:
        """Read usage. A reader that fails is dropped, and the response continues."""
        try:
            self.tap.feed(data)
        except Exception as error:
            logger.error(  # noqa: TRY400  # without the message
                "a response of %s passes unread: %s",
                self.call.provider,
                safe_traceback(error),
                extra={"call": self.call.id},
            )
            self.tap.reader = None

    def decoded(self, undo: StreamDecoder, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes that the filters let pass, or an error event if they cannot be decompressed."""
        if self.broken:
            return
        try:
            for part in undo.feed(data):
                yield from self.filtered(part)
        except DecodingError as error:
            yield from self.end()
            self.broken = True
            refusal = Refusal(502, "upstream_unreadable", f"The response broke off: {error}.", Fault.PROVIDER)
            if error_event := self.calls.stream_error(self.flow, refusal):
                yield error_event
