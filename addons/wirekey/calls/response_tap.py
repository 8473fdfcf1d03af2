"""The tap that the bytes of a response pass: it counts and reads them, and removes what the client must not get."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from wirekey.calls.calls import elapsed_ms
from wirekey.credentials.encoded_search import EncodedSearch, KeyQuoted
from wirekey.credentials.scrub import MASK, KeyScrubber
from wirekey.errors import Fault, Refusal
from wirekey.metering.decoding import DecodingError, StreamDecoder
from wirekey.tracebacks import safe_traceback
from wirekey.wire.delegate import ResponseRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy import http

    from wirekey.calls.calls import Calls
    from wirekey.metering.tap import Tap
    from wirekey.providers.openai.usage_filter import UsageEventFilter

logger = logging.getLogger(__name__)

KEY_QUOTED = Refusal(
    502,
    "key_quoted",
    "The compressed response quotes the provider's key, so the rest of it is withheld. Without compression "
    "(Accept-Encoding: identity) the key is masked and the response passes.",
    Fault.PROVIDER,
)
UNSEARCHABLE = Refusal(
    502,
    "upstream_unreadable",
    "The response cannot be decoded, so it could not be searched for the provider's key. The rest of it is withheld.",
    Fault.PROVIDER,
)


class Filter(Protocol):
    def feed(self, data: bytes) -> list[bytes]: ...
    def end(self) -> list[bytes]: ...


class Withheld:
    """Lets nothing by: for an error whose encoding cannot be undone, as it could quote the key."""

    def feed(self, data: bytes) -> list[bytes]:
        return []

    def end(self) -> list[bytes]:
        return []


class Masked:
    """Gives as many bytes as come, and none of those: for an error of stated length, where the scrubber fails."""

    def feed(self, data: bytes) -> list[bytes]:
        return [MASK * len(data)]

    def end(self) -> list[bytes]:
        return []


class ResponseTap:
    """Fed each chunk of an answer as it passes; what it returns is what the client gets.

    Chunks pass as they are. Where something must be taken out there is a filter: of the key, or of the usage that we
    asked for. If the answer is compressed there is a decoder before it; or it is searched, and passes as it is.
    """

    def __init__(self, calls: Calls, flow: http.HTTPFlow, tap: Tap) -> None:
        self.calls = calls
        self.flow = flow
        self.call = calls.of(flow)
        self.tap = tap
        self.filter: Filter | None = None
        """Masks the key; what it lets pass is read."""
        self.usage_filter: UsageEventFilter | None = None
        self.search: EncodedSearch | None = None
        self.decoder: StreamDecoder | None = None
        self.broken = False
        self.received = 0

    def __call__(self, data: bytes) -> list[bytes]:
        # mitmproxy says b"" at the end; a b"" from us would end an answer in chunks before its time.
        try:
            return self.passed(data) if data else self.ended()
        except ResponseRefused:
            raise
        except Exception as error:
            logger.error(  # noqa: TRY400  # see described
                "an answer of %s cannot be filtered: %s",
                self.call.provider,
                safe_traceback(error),
                extra={"call": self.call.id},
            )
            if self.search:
                raise ResponseRefused(UNSEARCHABLE) from error
            if not isinstance(self.filter, KeyScrubber):
                return [data] if data else []
            data, self.filter = self.filter.held + data, Masked()
            return self.filter.feed(data) if data else []

    def passed(self, data: bytes) -> list[bytes]:
        if not self.received:
            self.call.ttfb_ms = elapsed_ms(self.call)
        self.received += len(data)
        if self.decoder:
            return list(self.decoded(self.decoder, data))
        if self.search:
            return self.searched(self.search, data)
        return self.filtered(data)

    def ended(self) -> list[bytes]:
        if self.broken:
            return []
        if self.search:
            return self.search.end()
        cool_down = self.filter.end() if self.filter else []
        for part in cool_down:
            self.read(part)
        return [*self.without_usage(cool_down), *self.usage_filter.end()] if self.usage_filter else cool_down

    def filtered(self, data: bytes) -> list[bytes]:
        parts = self.filter.feed(data) if self.filter else [data]
        for part in parts:
            self.read(part)
        return self.without_usage(parts)

    def without_usage(self, parts: list[bytes]) -> list[bytes]:
        if self.usage_filter is None:
            return parts
        return [piece for part in parts for piece in self.usage_filter.feed(part)]

    def searched(self, search: EncodedSearch, data: bytes) -> list[bytes]:
        try:
            return search.feed(data, self.read)
        except (KeyQuoted, DecodingError) as found:
            raise ResponseRefused(KEY_QUOTED if isinstance(found, KeyQuoted) else UNSEARCHABLE) from None

    def read(self, data: bytes) -> None:
        try:
            self.tap.feed(data)
        except Exception as error:
            logger.error(  # noqa: TRY400  # see described
                "an answer of %s passes unread: %s",
                self.call.provider,
                safe_traceback(error),
                extra={"call": self.call.id},
            )
            self.tap.reader = None

    def decoded(self, undo: StreamDecoder, data: bytes) -> Iterator[bytes]:
        if self.broken:
            return
        try:
            for part in undo.feed(data):
                yield from self.filtered(part)
        except DecodingError as error:
            yield from self.ended()
            self.broken = True
            refusal = Refusal(502, "upstream_unreadable", f"The answer broke off: {error}.", Fault.PROVIDER)
            if last_words := self.calls.stream_error(self.flow, refusal):
                yield last_words
