"""Keeps the responses of models on their flows, with --keep-responses: what the client got, up to a limit.

A kept response has passed the response tap, so an error that quotes a key is kept with the key masked. Requests are
never kept, and neither are responses of operations other than inference, which may hold a credential.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from typing import TYPE_CHECKING

from wirekey.core.metering.decoding import decoder, is_plain
from wirekey.core.operation import Kind
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mitmproxy import http

    from wirekey.core.call import Call

logger = logging.getLogger(__name__)

KEEP_RESPONSES = "wirekey_keep_responses"
"""Wirekey's own option: keep the responses of models on the flows, where mitmweb and dumps show them."""
LONGEST_RESPONSE = 1024 * 1024
"""Bytes of one response, decoded. Of a longer one the beginning is kept."""
ALL_RESPONSES = 64 * 1024 * 1024
"""Bytes of all kept responses. Beyond them the oldest are dropped."""


class KeptResponse:
    """Wraps what a response streams through, and keeps what comes out of it, decompressed."""

    def __init__(self, inner: Callable[[bytes], Iterable[bytes] | bytes], encoding: str) -> None:
        self.inner = inner
        self.decoder = None if is_plain(encoding) else decoder(encoding)
        self.room = LONGEST_RESPONSE if self.decoder or is_plain(encoding) else 0
        self.pieces: list[bytes] = []

    def __call__(self, data: bytes) -> Iterable[bytes] | bytes:
        """Pass bytes on, and keep what comes out."""
        passed = self.inner(data)
        if self.room:
            try:
                for piece in [passed] if isinstance(passed, bytes) else passed:
                    self.keep(piece)
            except Exception as error:
                # Keep the part that is decoded so far. The client gets everything.
                self.room = 0
                logger.debug("a response is kept in part: %s", safe_traceback(error))
        return passed

    def keep(self, piece: bytes) -> None:
        """Keep a piece if there is room."""
        for part in self.decoder.feed(piece) if self.decoder else (piece,):
            taken = part[: self.room]
            self.pieces.append(taken)
            self.room -= len(taken)
            if not self.room:
                return


class KeptResponses:
    """The responses kept in one process. The oldest are dropped when all of them are too large."""

    def __init__(self) -> None:
        self.held: deque[tuple[weakref.ref[http.HTTPFlow], int]] = deque()
        self.size = 0

    def begin(self, flow: http.HTTPFlow, call: Call) -> None:
        """Begin to keep a response, if it is of a model."""
        response = flow.response
        if response and callable(response.stream) and call.operation and call.operation.kind is Kind.INFERENCE:
            response.stream = KeptResponse(response.stream, response.headers.get("content-encoding", ""))

    def end(self, flow: http.HTTPFlow) -> None:
        """Attach the kept bytes to the flow, after the last byte went to the client."""
        response = flow.response
        if response is None or not isinstance(kept := response.stream, KeptResponse):
            return
        response.stream = True
        content = b"".join(kept.pieces)
        if not content:
            return
        response.headers.pop("content-encoding", None)  # or mitmproxy would decode it again, without a limit
        response.data.content = content
        self.held.append((weakref.ref(flow), len(content)))
        self.size += len(content)
        while self.size > ALL_RESPONSES:
            oldest, size = self.held.popleft()
            self.size -= size
            if (previous := oldest()) and previous.response:
                previous.response.data.content = None
