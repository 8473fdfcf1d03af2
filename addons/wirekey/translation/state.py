"""Carries the reasoning state of one provider through the conversations of clients of another format.

A conversation that goes from provider A to B and back to A must find A's state again, without a store. Each client
format has an opaque place that its SDK sends back; there the state of a foreign provider travels, sealed. The seal is
not encrypted, because it holds what the client was shown or what its issuer encrypted. It is authenticated: without
that, a client could put text into a prompt that no policy saw.

A seal is: a version, a flag, the payload (JSON, deflated if that is smaller), and 16 bytes of HMAC-SHA-256 of all before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.translation.neutral import Issuer, Reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SEAL_BYTES = 64 * 1024
MAX_SEAL_IN_ID_BYTES = 16 * 1024
MAX_INFLATED_BYTES = 256 * 1024
MARKER = "wk1_"
GEMINI_MARKER = b"WK1"
_VERSION = 1
_MAC_BYTES = 16
_IN_ID = re.compile(r"(call_[A-Za-z0-9]{1,24})_wk1_([A-Za-z0-9_-]*)\Z")
_PLAIN, _DEFLATED = 0, 1


class _Sealed(msgspec.Struct, array_like=True):
    issuer: str
    text: str | None
    state: str | None
    redacted: bool
    attached: str
    item: str | None


_DECODER = msgspec.json.Decoder(list[_Sealed])


@dataclass(frozen=True, slots=True)
class StateReader:
    """Seals and opens reasoning state with the key of this installation; seals made with `former` keys still open."""

    key: bytes
    former: tuple[bytes, ...] = ()

    def seal(self, blocks: Sequence[Reasoning]) -> bytes:
        """Return the seal of some blocks. It is the same for the same blocks."""
        payload = msgspec.json.encode([
            _Sealed(block.issuer or Issuer.OTHER, block.text, block.state, block.redacted, block.attached, block.item)
            for block in blocks
        ])
        deflated = zlib.compress(payload, 6)
        flag, data = (_DEFLATED, deflated) if len(deflated) < len(payload) else (_PLAIN, payload)
        signed = bytes((_VERSION, flag)) + data
        return signed + _mac(self.key, signed)

    def open(self, seal: bytes) -> list[Reasoning]:
        """Return the blocks of a seal, or none if it is broken, unknown, too large or of another installation."""
        signed, mac = seal[:-_MAC_BYTES], seal[-_MAC_BYTES:]
        if len(seal) > MAX_SEAL_BYTES or len(signed) < 2 or signed[0] != _VERSION:
            return []
        if not any(hmac.compare_digest(mac, _mac(key, signed)) for key in (self.key, *self.former)):
            return []
        payload = _inflated(signed[2:]) if signed[1] == _DEFLATED else signed[2:]
        try:
            found = _DECODER.decode(payload) if payload is not None else []
        except msgspec.DecodeError:
            return []
        return [
            Reasoning(one.text, one.state, Issuer(one.issuer), one.redacted, one.attached, one.item)  # type: ignore[arg-type]
            for one in found
        ]

    def sealed_text(self, blocks: Sequence[Reasoning]) -> str | None:
        """Return the seal as text, or None if it is too large to be carried."""
        seal = self.seal(blocks)
        return MARKER + _base64url(seal) if len(seal) <= MAX_SEAL_BYTES else None

    def sealed_signature(self, blocks: Sequence[Reasoning]) -> str | None:
        """Return the seal as the base64 of a Gemini signature, or None if it is too large."""
        seal = self.seal(blocks)
        return base64.b64encode(GEMINI_MARKER + seal).decode() if len(seal) <= MAX_SEAL_BYTES else None

    def sealed_id(self, call: str, blocks: Sequence[Reasoning]) -> str | None:
        """Return the id of a call with the seal behind it, or None if it is too large."""
        seal = self.seal(blocks)
        return f"{short_id(call)}_{MARKER}{_base64url(seal)}" if len(seal) <= MAX_SEAL_IN_ID_BYTES else None

    def read(self, opaque: str, bare: Reasoning) -> list[Reasoning]:
        """Return the blocks that an opaque value stands for: those of a seal, or `bare` with the value as its state."""
        if opaque.startswith(MARKER):
            return self._opened(opaque[len(MARKER) :])
        return [replace(bare, state=opaque)] if opaque else []

    def read_signature(self, signature: str, bare: Reasoning) -> list[Reasoning]:
        """Return the blocks that a Gemini signature stands for."""
        data = _decoded(signature)
        if data is not None and data.startswith(GEMINI_MARKER):
            return self.open(data[len(GEMINI_MARKER) :])
        return [replace(bare, state=signature)] if signature else []

    def read_id(self, call: str) -> tuple[str, list[Reasoning]]:
        """Return the id of a call without a seal, and the blocks of the seal behind it."""
        found = _IN_ID.match(call)
        return (found[1], self._opened(found[2])) if found else (call, [])

    def _opened(self, text: str) -> list[Reasoning]:
        data = _decoded(text)
        return self.open(data) if data is not None else []


def short_id(call: str) -> str:
    """Return an id of at most 29 characters for a call that carries a seal."""
    if re.fullmatch(r"call_[A-Za-z0-9]{1,24}", call):
        return call
    return f"call_{hashlib.sha256(call.encode()).hexdigest()[:24]}"


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")[:_MAC_BYTES]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes | None:
    try:
        data = text.encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def _inflated(data: bytes) -> bytes | None:
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error:
        return None
    return found if inflate.eof else None
