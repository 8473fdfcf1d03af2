"""Answers of models kept on their flows, where the operator asked for it: what the client got, within bounds.

What is kept is what left the tap (metering.py), so that an error which quotes a key is kept as the client got it:
masked. Requests are never kept, nor what operations other than inference answer: those may hold a credential.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from typing import TYPE_CHECKING

from wirekey.metering.decoding import decoder, is_plain
from wirekey.operation import Kind
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mitmproxy import http

    from wirekey.call import Call

logger = logging.getLogger(__name__)

LONGEST_ANSWER = 1024 * 1024
"""Bytes, decoded; of a longer one the beginning is kept."""
ALL_ANSWERS = 64 * 1024 * 1024
"""Bytes. Beyond them the oldest are let go."""


class KeptResponse:
    """Stands before what an answer streams through, and keeps what comes out of it, its Content-Encoding undone."""

    def __init__(self, inner: Callable[[bytes], Iterable[bytes] | bytes], encoding: str) -> None:
        self.inner = inner
        self.decoder = None if is_plain(encoding) else decoder(encoding)
        self.room = LONGEST_ANSWER if self.decoder or is_plain(encoding) else 0
        self.pieces: list[bytes] = []

    def __call__(self, data: bytes) -> Iterable[bytes] | bytes:
        passed = self.inner(data)
        if self.room:
            try:
                for piece in [passed] if isinstance(passed, bytes) else passed:
                    self.keep(piece)
            except Exception as error:
                # What cannot be decoded is kept so far; the client gets all of it.
                self.room = 0
                logger.debug("an answer is kept in part: %s", safe_traceback(error))
        return passed

    def keep(self, piece: bytes) -> None:
        for part in self.decoder.feed(piece) if self.decoder else (piece,):
            taken = part[: self.room]
            self.pieces.append(taken)
            self.room -= len(taken)
            if not self.room:
                return


class KeptResponses:
    def __init__(self) -> None:
        self.held: deque[tuple[weakref.ref[http.HTTPFlow], int]] = deque()
        self.size = 0

    def begin(self, flow: http.HTTPFlow, call: Call) -> None:
        """Keep what will pass of this answer, if it is a model's."""
        response = flow.response
        if response and callable(response.stream) and call.operation and call.operation.kind is Kind.INFERENCE:
            response.stream = KeptResponse(response.stream, response.headers.get("content-encoding", ""))

    def end(self, flow: http.HTTPFlow) -> None:
        """Put on the flow what was kept, after the last of it went to the client."""
        response = flow.response
        if response is None or not isinstance(kept := response.stream, KeptResponse):
            return
        response.stream = True
        content = b"".join(kept.pieces)
        if not content:
            return
        response.headers.pop("content-encoding", None)  # or mitmproxy would decode it once more, without bounds
        response.data.content = content
        self.held.append((weakref.ref(flow), len(content)))
        self.size += len(content)
        while self.size > ALL_ANSWERS:
            oldest, size = self.held.popleft()
            self.size -= size
            if (previous := oldest()) and previous.response:
                previous.response.data.content = None
