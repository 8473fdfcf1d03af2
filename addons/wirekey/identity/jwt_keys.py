"""The keys with which Wirekey signs tokens: `jwt-keys.json` of the state folder, its owner's alone.

One key signs; when it is old a new one takes its place, and the former still verifies until the last token that it
signed has ended. To have all tokens of now refused at once, remove the file: new keys are made.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from typing import TYPE_CHECKING, Annotated, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct
from msgspec.structs import replace

from wirekey.errors import UserError
from wirekey.identity import private_file
from wirekey.identity.jwk import KeySet, VerificationKey, public_jwk, thumbprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.identity.private_file import FileVersion

logger = logging.getLogger(__name__)

VERSION = 1
ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""What the header's `typ` says of our tokens (RFC 9068), so that no other kind of token passes for one."""
SIGNS_FOR = 30 * 86400.0
"""Seconds after which a new key takes over."""
SPARE = 120.0
"""Seconds that a former key verifies beyond the lifetime of its last token: clocks, and processes that follow late."""


class JwtSigningKeysError(UserError):
    """The file of the keys cannot be used: names the file and the fix."""


class StoredKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key: 32 bytes of Ed25519 in hex. `ends` None: it signs; else until when it verifies (Unix seconds)."""

    private: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: float
    ends: float | None = None

    def __repr__(self) -> str:
        return f"StoredKey(created={self.created}, ends={self.ends})"


class KeyRing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int = VERSION
    keys: tuple[StoredKey, ...] = ()


def rotated(ring: KeyRing, now: float, overlap: float) -> KeyRing:
    """Make a new key that signs; those that did verify for `overlap` seconds more."""
    kept = (key if key.ends is not None else replace(key, ends=now + overlap) for key in ring.keys)
    living = tuple(key for key in kept if key.ends is not None and key.ends > now)
    fresh = Ed25519PrivateKey.generate().private_bytes_raw().hex()
    return replace(ring, keys=(*living, StoredKey(private=fresh, created=now)))


def is_due(ring: KeyRing, now: float) -> bool:
    """Tell whether there must be a new key: there is none that signs, or it is old."""
    return not any(key.ends is None and now < key.created + SIGNS_FOR for key in ring.keys)


def decode(data: bytes) -> KeyRing:
    """Read the file. Raises ValueError, which holds nothing of it."""
    try:
        ring = msgspec.json.decode(data, type=KeyRing)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("does not hold the keys as they were written") from error
    if ring.version != VERSION:
        raise ValueError(f"has format version {ring.version}, and this Wirekey knows version {VERSION} only")
    return ring


class JwtSigningKeys:
    """The keys of one state folder. `lifetime`: of the tokens that are signed, in seconds; it may be set anew.

    Raises SigningKeysError. For one thread; several processes may share the file.
    """

    def __init__(self, path: Path, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.lifetime = lifetime
        self._clock = clock
        self._signature: FileVersion = None
        self._ring = KeyRing()
        self._signer: tuple[str, Ed25519PrivateKey]
        self._verifying: list[tuple[VerificationKey, float | None]] = []
        self._set = KeySet()
        self._follow()
        self._renew()

    def refresh(self) -> None:
        """Follow the file, and the time: call it twice a second. Never raises; what was known stays in force."""
        try:
            self._follow()
            self._renew()
        except JwtSigningKeysError as error:
            logger.error("%s The keys known before stay in force.", error)  # noqa: TRY400  # a sentence says it all

    def rotate(self) -> None:
        """Make a new key now. Raises SigningKeysError."""
        self._change(lambda ring, now: rotated(ring, now, self.lifetime + SPARE))

    def sign(self, claims: dict[str, Any]) -> str:
        """Give a token with these claims."""
        kid, private = self._signer
        return jwt.encode(claims, private, algorithm=ALGORITHM, headers={"kid": kid, "typ": TYPE})

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Give the key of that id; ours always say theirs."""
        key = self._set.find(kid, algorithm) if kid else None
        return key if key and self.holds(key.thumbprint) else None

    def holds(self, thumbprint: str) -> bool:
        return any(
            key.thumbprint == thumbprint and (ends is None or self._clock() < ends) for key, ends in self._verifying
        )

    def document(self) -> bytes:
        """Give the public keys as a JSON Web Key Set."""
        keys = [
            {**public_jwk(key.public), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
            for key, _ in self._verifying
            if self.holds(key.thumbprint)
        ]
        return json.dumps({"keys": keys}).encode()

    def _renew(self) -> None:
        if is_due(self._ring, self._clock()):
            self._change(lambda ring, now: rotated(ring, now, self.lifetime + SPARE) if is_due(ring, now) else ring)

    def _change(self, change: Callable[[KeyRing, float], KeyRing]) -> None:
        try:
            with private_file.exclusive(self.path):
                latest = self._read()
                changed = change(latest, self._clock())
                if changed is not latest:
                    private_file.replace(self.path, msgspec.json.format(msgspec.json.encode(changed)) + b"\n")
        except OSError as error:
            raise JwtSigningKeysError(f"{self.path} cannot be written: {error.strerror}.") from error
        self._follow()

    def _follow(self) -> None:
        try:
            signature = private_file.file_version(self.path)
        except OSError as error:
            raise JwtSigningKeysError(f"{self.path} cannot be read: {error.strerror}.") from error
        if signature != self._signature:
            self._signature = signature
            self._use(self._read())

    def _read(self) -> KeyRing:
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return KeyRing()
        except OSError as error:
            raise JwtSigningKeysError(f"{self.path} cannot be read: {error.strerror}.") from error
        with open(file, "rb") as stream:  # noqa: PTH123  # of a descriptor, which Path has no word for
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise JwtSigningKeysError(
                    f"{self.path} can be read by others, or is no regular file. Make it yours alone "
                    f"(chmod 600 {self.path}); or remove it, and new keys are made."
                )
            data = stream.read()
        try:
            return decode(data)
        except ValueError as error:
            raise JwtSigningKeysError(
                f"{self.path} {error}. Put a copy back; or remove it: new keys are made, and agents get new tokens."
            ) from None

    def _use(self, ring: KeyRing) -> None:
        self._ring = ring
        self._verifying = []
        for stored in ring.keys:
            private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(stored.private))
            kid = thumbprint(public_jwk(private.public_key()))
            self._verifying.append((VerificationKey(private.public_key(), (ALGORITHM,), kid, kid), stored.ends))
            if stored.ends is None:
                self._signer = kid, private
        self._set = KeySet(key for key, _ in self._verifying)
