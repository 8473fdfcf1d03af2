"""Streams of signed events as AWS's SDKs write them, for the verifier. Written without `wirekey.signing`."""

import hashlib
import hmac
import struct
import time
import zlib

from tests.support.signed_requests import NOW, SECRET

SEED = "ab" * 32
"""The signature of the head."""
REGION, SERVICE = "us-east-1", "bedrock"


def frame(headers: bytes, payload: bytes) -> bytes:
    """Return a frame of an event stream."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def date(seconds: float) -> bytes:
    """Return the header :date."""
    return b"\x05:date\x08" + struct.pack(">q", int(seconds * 1000))


def chunk_signature(signature: bytes) -> bytes:
    """Return the header :chunk-signature."""
    return b"\x10:chunk-signature\x06" + struct.pack(">H", len(signature)) + signature


def signature_of(previous: str, at: float, payload: bytes, secret: str = SECRET, region: str = REGION) -> bytes:
    """Return the signature of an event after the one with the signature `previous`, in hexadecimal."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    key = b"AWS4" + secret.encode()
    for part in (stamp[:8], region, SERVICE, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    hashes = hashlib.sha256(date(at)).hexdigest(), hashlib.sha256(payload).hexdigest()
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, *hashes))
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed_frames(payloads, seed: str = SEED, at: float = NOW, **more) -> list[bytes]:
    """Return the frames of signed events, each chained to the one before it."""
    frames = []
    for payload in payloads:
        signature = signature_of(seed, at, payload, **more)
        frames.append(frame(date(at) + chunk_signature(signature), payload))
        seed = signature.hex()
    return frames


def read(data: bytes) -> list[tuple[float, bytes, bytes]]:
    """Return time, signature and payload of each frame of a whole stream, with :date before :chunk-signature."""
    found = []
    while data:
        total, headers_length = struct.unpack(">II", data[:8])
        assert zlib.crc32(data[: total - 4]) == struct.unpack(">I", data[total - 4 : total])[0]
        headers = data[12 : 12 + headers_length]
        assert headers[:7] == date(0)[:7]
        assert headers[15:35] == chunk_signature(b"\0" * 32)[:20]
        milliseconds = struct.unpack(">q", headers[7:15])[0]
        found.append((milliseconds / 1000, headers[35:], data[12 + headers_length : total - 4]))
        data = data[total:]
    return found
