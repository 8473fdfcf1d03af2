"""Checks the signed events of a request as AWS does, written from AWS's description alone.

Independent of wirekey.core.signing on purpose, as `sigv4` is.
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-signing
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from zlib import crc32

ALGORITHM = "AWS4-HMAC-SHA256-PAYLOAD"
PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
"""Stands for the hash of the body in the head of a request whose events are signed."""
LONGEST = 16 << 20
SKEW = 300
MISMATCH = "The request signature we calculated does not match the signature you provided."


class EventRejected(Exception):  # noqa: N818  # named as what happens to the event
    """An event that AWS rejects. The text is AWS's message."""


class SignedEvents:
    """The events of one request. `seed`: the signature of its head, in hexadecimal.

    `secret`: None if signatures are not checked.
    """

    def __init__(self, secret: str | None, region: str, service: str, seed: str) -> None:
        self.secret = secret
        self.scope = f"{region}/{service}/aws4_request"
        self.previous = seed
        self.received = b""
        self.count = 0
        """The events that were verified."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads of the signed events that end in `data`. Raises EventRejected."""
        self.received += data
        found = []
        while len(self.received) >= 12:
            total, headers_length, checksum = struct.unpack(">III", self.received[:12])
            if crc32(self.received[:8]) != checksum or total > LONGEST:
                raise EventRejected("Prelude checksum mismatch or frame too long.")
            if len(self.received) < total:
                break
            frame, self.received = self.received[:total], self.received[total:]
            if crc32(frame[:-4]) != int.from_bytes(frame[-4:]):
                raise EventRejected("Message checksum mismatch.")
            found.append(self._verified(frame[12 : 12 + headers_length], frame[12 + headers_length : -4]))
        return found

    def _verified(self, headers: bytes, payload: bytes) -> bytes:
        date, signature = headers[:15], headers[35:]
        if headers[:7] != b"\x05:date\x08" or headers[15:35] != b"\x10:chunk-signature\x06\x00\x20":
            raise EventRejected("The event is not signed.")
        self.count += 1
        if self.secret is None:
            return payload
        seconds = int.from_bytes(date[7:], signed=True) // 1000
        if abs(time.time() - seconds) > SKEW:
            raise EventRejected("Signature expired.")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
        text = "\n".join(
            (
                ALGORITHM,
                stamp,
                f"{stamp[:8]}/{self.scope}",
                self.previous,
                hashlib.sha256(date).hexdigest(),
                hashlib.sha256(payload).hexdigest(),
            )
        )
        key = b"AWS4" + self.secret.encode()
        for part in (stamp[:8], *self.scope.split("/")):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        made = hmac.new(key, text.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(made, signature):
            raise EventRejected(MISMATCH)
        self.previous = made.hex()
        return payload
