"""Searches a compressed response for secrets while it passes as it is.

A mask cannot be put into compressed bytes, so a response that quotes a secret ends instead. A chunk waits while what it
decodes to ends with the beginning of a secret; so the client never gets more of one than its first part in a symbol
that is not whole. Bytes that decoders skip, such as those after the end, are searched undecoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.credentials.scrub import KeyScrubber

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.metering.decoding import StreamDecoder

MOST_WAITING = 256 * 1024
"""Compressed bytes that may wait for what follows. Only a response made for it has more that decode to nothing."""


class KeyQuoted(Exception):  # noqa: N818  # not an error of ours
    """The response quotes a secret, or might do so without end."""


class EncodedSearch:
    """Searches one compressed response for secrets. Feed it chunk by chunk, then call `end`."""

    def __init__(self, undo: StreamDecoder, secrets: tuple[bytes, ...]) -> None:
        self.undo = undo
        self.decoded, self.raw = KeyScrubber(secrets), KeyScrubber(secrets)
        self.waiting: list[bytes] = []

    def feed(self, data: bytes, read: Callable[[bytes], None]) -> list[bytes]:
        """Return the chunks that may be passed on, each as it came; `read` gets what they decode to.

        Raises KeyQuoted, DecodingError: nothing more may be passed on.
        """
        self.waiting.append(data)
        self.raw.feed(data)
        for piece in self.undo.feed(data):
            for part in self.decoded.feed(piece):
                read(part)
        if self.decoded.found or self.raw.found:
            raise KeyQuoted
        if self.decoded.held or self.raw.held:
            if sum(map(len, self.waiting)) > MOST_WAITING:
                raise KeyQuoted
            return []
        ready, self.waiting = self.waiting, []
        return ready

    def end(self) -> list[bytes]:
        """Return what still waits: a beginning without its rest is no secret."""
        ready, self.waiting = self.waiting, []
        return ready
