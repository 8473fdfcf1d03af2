"""Verifies the signed events of a request as they arrive, and signs them again for the provider. No I/O.

The head of such a request is signed with `STREAMING-AWS4-HMAC-SHA256-EVENTS` in place of the hash of its body. Each
event then has a signature that covers its time, its payload and the signature before it; the first one covers the
signature of the head. So no event can be forged, repeated, left out or moved.

botocore has no such operations. The chain is that of AWS's SDKs for JavaScript and Go, with which tests compare it.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.core.signing.event_frames import FrameReader, date_header, write_signed_frame
from wirekey.core.signing.refusal import invalid
from wirekey.core.signing.request import TERMINATOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.signing.canonical import SigningKeyCache
    from wirekey.core.signing.request import RequestHead, SigV4Credentials

EVENTS_PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
"""Stands for the hash of the body in the head of a request whose events are signed."""
ALGORITHM = "AWS4-HMAC-SHA256-PAYLOAD"
CLOCK_SKEW = 300
"""Seconds that the signer's clock may differ, either way."""


def signs_events(head: RequestHead) -> bool:
    """Return whether the signature of a head covers no body, because each event of the body has one of its own."""
    return any(
        name.lower() == b"x-amz-content-sha256" and value.strip(b" \t") == EVENTS_PAYLOAD.encode()
        for name, value in head.headers
    )


class EventSignatures:
    """The chain of signatures of one request, made with one pair for one region and service.

    `seed`: the signature of the head, in lower-case hexadecimal.
    """

    __slots__ = ("_credentials", "_head", "_key", "_keys", "_region", "_second", "_service", "previous")

    def __init__(
        self, credentials: SigV4Credentials, region: str, service: str, seed: str, keys: SigningKeyCache
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._keys = keys
        self._second = -1
        """The second that `_head`, the beginning of the text to sign, and `_key` are for: events of one share them."""
        self._head, self._key = "", b""
        self.previous = seed

    def next(self, seconds: int, headers: bytes, payload_sha256: str) -> bytes:
        """Return the signature of the next event, on which the one after it builds.

        `seconds`: since the epoch. `headers`: those that are signed, encoded.
        """
        if seconds != self._second:
            self._begin_second(seconds)
        text = f"{self._head}{self.previous}\n{hashlib.sha256(headers).hexdigest()}\n{payload_sha256}"
        signature = hmac.digest(self._key, text.encode(), "sha256")
        self.previous = signature.hex()
        return signature

    def _begin_second(self, seconds: int) -> None:
        timestamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
        date = timestamp[:8]
        self._head = f"{ALGORITHM}\n{timestamp}\n{date}/{self._region}/{self._service}/{TERMINATOR}\n"
        self._key = self._keys.key(self._credentials, date, self._region, self._service)
        self._second = seconds


class EventResigner:
    """Passes the events of one request on: verified against the chain of the client, signed in that of the provider.

    `received`: None if the client identified itself otherwise, so that its signatures prove nothing. They are replaced
    all the same. For one request. It holds at most one unfinished frame.
    """

    __slots__ = ("_reader", "_received", "_sent", "events", "payload")

    def __init__(self, received: EventSignatures | None, sent: EventSignatures) -> None:
        self._reader = FrameReader()
        self._received = received
        self._sent = sent
        self.events = 0
        """The number of events that were passed on, including the empty one at the end."""
        self.payload: memoryview | bytes = b""
        """The payload of the event that was yielded last, until the next one is taken."""

    @property
    def held(self) -> int:
        """Return the bytes of the unfinished frame."""
        return self._reader.held

    def feed(self, data: bytes, now: float) -> Iterator[bytes]:
        """Yield the frames for the provider, one for each event that ends in `data`. `now`: Unix seconds.

        Raises SignatureRefused at the first event that does not verify or is malformed. Then nothing more may be sent.
        """
        for frame in self._reader.feed(data):
            digest = hashlib.sha256(frame.payload).hexdigest()
            if self._received is not None:
                seconds = frame.milliseconds // 1000
                if abs(seconds - now) > CLOCK_SKEW:
                    raise invalid("The time of an event differs by more than five minutes from that of its arrival.")
                expected = self._received.next(seconds, date_header(frame.milliseconds), digest)
                if not hmac.compare_digest(expected, frame.signature):
                    raise invalid()
            date = date_header(int(now * 1000))
            self.events += 1
            self.payload = frame.payload
            yield write_signed_frame(date, self._sent.next(int(now), date, digest), frame.payload)
            self.payload = b""

    def end(self) -> None:
        """Note the end of the request. Raises SignatureRefused if it is within an event."""
        self._reader.end()
