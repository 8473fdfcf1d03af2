"""Carries the reasoning state of one provider through the conversations of clients of another format.

A conversation that goes from provider A to B and back to A must find A's state again, without a store. Each client
format has an opaque place that its SDK sends back; there the state of a foreign provider travels, signed. It is not
encrypted, because it holds what the client was shown or what its issuer encrypted. Without the signature, a client
could put text into a prompt that no policy saw.

A signed state is a version, a flag, the payload (JSON, deflated if that is smaller), and 16 bytes of HMAC-SHA-256 of
all before, with a key of the agent that got it. Version 4 has the id of the installation's key before the payload, 4
bytes. Versions 1 and 2 were not bound to an agent; they are no longer read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SIGNED_BYTES = 64 * 1024
MAX_SIGNED_ID_BYTES = 16 * 1024
MAX_INFLATED_BYTES = 256 * 1024
MARKER = "wk1_"
GEMINI_MARKER = b"WK1"
SKIP_SIGNATURE = "skip_thought_signature_validator"
"""The signature of a call that another model made (ai.google.dev, thought signatures)."""
_VERSION, _VERSION_WITH_ID = 3, 4
_ID_BYTES = 4
_MAC_BYTES = 16
_IN_ID = re.compile(r"(call_[A-Za-z0-9]{1,24})_wk1_([A-Za-z0-9_-]*)\Z")
_PLAIN, _DEFLATED = 0, 1


class _SignedBlock(msgspec.Struct, array_like=True):
    issuer: str
    text: str | None
    state: str | None
    redacted: bool
    attached: str
    item: str | None
    credential: str = ""
    binary: bool = False


_DECODER = msgspec.json.Decoder(list[_SignedBlock])


@dataclass(frozen=True, slots=True)
class StateReader:
    """Signs and verifies reasoning state with the key of this installation, or verifies it with an earlier key.

    `names_key`: write the id of the key into what is signed.
    """

    key: bytes
    earlier: tuple[bytes, ...] = ()
    names_key: bool = False
    carries: bool = True
    """False if no state of another provider is given to clients, or read from them."""
    credential: str = ""
    """Label of the key that the upstream is called with: OpenAI's state opens only for the organization of its key."""
    agent: str | None = None
    """Id of the agent that calls: a state that another agent got is not read. None without agents."""

    def sign(self, blocks: Sequence[n.Reasoning]) -> bytes:
        """Return the signed state of some blocks. The same blocks give the same state."""
        payload = msgspec.json.encode(
            [
                _SignedBlock(
                    block.issuer or n.ModelMaker.OTHER,
                    block.text,
                    block.state,
                    block.redacted,
                    block.attached,
                    block.item,
                    self.credential,
                    block.binary,
                )
                for block in blocks
            ]
        )
        deflated = zlib.compress(payload, 6)
        flag, data = (_DEFLATED, deflated) if len(deflated) < len(payload) else (_PLAIN, payload)
        head = bytes((_VERSION_WITH_ID, flag)) + _key_id(self.key) if self.names_key else bytes((_VERSION, flag))
        signed = head + data
        return signed + self._mac(self.key, signed)

    def verify(self, state: bytes) -> list[n.Reasoning]:
        """Return the blocks of a signed state, or none if it is broken, too large or of another agent."""
        signed, mac = state[:-_MAC_BYTES], state[-_MAC_BYTES:]
        if not self.carries or len(state) > MAX_SIGNED_BYTES or len(signed) < 2:
            return []
        keys: tuple[bytes, ...] = ()
        start = 2
        if signed[0] == _VERSION:
            keys = (self.key, *self.earlier)
        elif signed[0] == _VERSION_WITH_ID:
            start += _ID_BYTES
            keys = tuple(key for key in (self.key, *self.earlier) if _key_id(key) == signed[2:start])
        if not any(hmac.compare_digest(mac, self._mac(key, signed)) for key in keys):
            return []
        payload = _inflated(signed[start:]) if signed[1] == _DEFLATED else signed[start:]
        try:
            found = _DECODER.decode(payload) if payload is not None else []
        except msgspec.DecodeError:
            return []
        return [
            n.Reasoning(one.text, one.state, n.ModelMaker(one.issuer), one.redacted, one.attached, one.item, one.binary)  # type: ignore[arg-type]
            for one in found
            if one.issuer != n.ModelMaker.OPENAI or one.credential == self.credential
        ]

    def signed_text(self, blocks: Sequence[n.Reasoning]) -> str | None:
        """Return the signed state as text, or None if it is too large to be carried."""
        found = self._carried(blocks, MAX_SIGNED_BYTES)
        return MARKER + _base64url(found) if found else None

    def signed_signature(self, blocks: Sequence[n.Reasoning]) -> str | None:
        """Return the signed state as a Gemini signature, in base64, or None if it is too large."""
        found = self._carried(blocks, MAX_SIGNED_BYTES)
        return base64.b64encode(GEMINI_MARKER + found).decode() if found else None

    def signed_id(self, call: str, blocks: Sequence[n.Reasoning]) -> str | None:
        """Return the id of a call with the signed state behind it, or None if it is too large."""
        found = self._carried(blocks, MAX_SIGNED_ID_BYTES)
        return f"{short_id(call)}_{MARKER}{_base64url(found)}" if found else None

    def _carried(self, blocks: Sequence[n.Reasoning], most: int) -> bytes | None:
        found = self.sign(blocks) if self.carries else b""
        return found if 0 < len(found) <= most else None

    def read(self, opaque: str, bare: n.Reasoning) -> list[n.Reasoning]:
        """Return the blocks of an opaque value: those of a signed state, or `bare` with the value as its state."""
        if opaque.startswith(MARKER):
            return self._verified(opaque[len(MARKER) :])
        return [replace(bare, state=opaque)] if opaque else []

    def read_signature(self, signature: str, bare: n.Reasoning) -> list[n.Reasoning]:
        """Return the blocks that a Gemini signature stands for."""
        if not signature:
            return []
        data = _decoded(signature)
        if data is not None and data.startswith(GEMINI_MARKER):
            return self.verify(data[len(GEMINI_MARKER) :])
        return [replace(bare, state=signature)]

    def read_id(self, call: str) -> tuple[str, list[n.Reasoning]]:
        """Return the id of a call without its signed state, and the blocks of that state."""
        found = _IN_ID.match(call)
        return (found[1], self._verified(found[2])) if found else (call, [])

    def _mac(self, key: bytes, signed: bytes) -> bytes:
        name = b"no agent" if self.agent is None else b"agent " + self.agent.encode("utf-8", "surrogatepass")
        return hmac.digest(hmac.digest(key, name, "sha256"), signed, "sha256")[:_MAC_BYTES]

    def _verified(self, text: str) -> list[n.Reasoning]:
        data = _decoded(text)
        return self.verify(data) if data is not None else []


def short_id(call: str) -> str:
    """Return an id of at most 29 characters for a call that carries a signed state."""
    if re.fullmatch(r"call_[A-Za-z0-9]{1,24}", call):
        return call
    return f"call_{hashlib.sha256(call.encode()).hexdigest()[:24]}"


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"wirekey key id\n" + key).digest()[:_ID_BYTES]


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
