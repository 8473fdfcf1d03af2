"""The keys with which Wirekey signs tokens: `jwt-keys.json` in the state folder, readable by its owner only.

One key signs. When it is old, a new key replaces it, and the previous key still verifies until the last token that it
signed has expired. To reject all current tokens at once, delete the file: Wirekey creates new keys.
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

from wirekey.core.errors import UserError
from wirekey.core.identity import private_file
from wirekey.features.jwt.jwk import KeySet, VerificationKey, public_jwk, thumbprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion

logger = logging.getLogger(__name__)

VERSION = 1
ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""The header's `typ` of Wirekey's tokens (RFC 9068), so that no other kind of token is accepted as one."""
SIGNS_FOR = 30 * 86400.0
"""Seconds after which a new key replaces the signing key."""
SPARE = 120.0
"""Seconds that a previous key verifies beyond the lifetime of its last token, for clock skew and slow reloads."""


class JwtSigningKeysError(UserError):
    """The file of the signing keys cannot be used. The message names the file and the fix."""


class StoredKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key: 32 bytes of Ed25519 in hex. `ends` None: it signs. Otherwise it verifies until then (Unix seconds)."""

    private: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: float
    ends: float | None = None

    def __repr__(self) -> str:
        return f"StoredKey(created={self.created}, ends={self.ends})"


class KeyRing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole content of the key file."""

    version: int = VERSION
    keys: tuple[StoredKey, ...] = ()


_decoder = msgspec.json.Decoder(KeyRing)


def rotated(ring: KeyRing, now: float, overlap: float) -> KeyRing:
    """Return the ring with a new signing key. The previous signing key verifies for `overlap` more seconds."""
    kept = (key if key.ends is not None else replace(key, ends=now + overlap) for key in ring.keys)
    unexpired = tuple(key for key in kept if key.ends is not None and key.ends > now)
    fresh = Ed25519PrivateKey.generate().private_bytes_raw().hex()
    return replace(ring, keys=(*unexpired, StoredKey(private=fresh, created=now)))


def is_due(ring: KeyRing, now: float) -> bool:
    """Return whether a new key is needed: no key signs, or the signing key is old."""
    return not any(key.ends is None and now < key.created + SIGNS_FOR for key in ring.keys)


def decode(data: bytes) -> KeyRing:
    """Parse the key file. Raises ValueError with a message that contains nothing of the file."""
    try:
        ring = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("does not contain valid keys") from error
    if ring.version != VERSION:
        raise ValueError(f"has format version {ring.version}; this Wirekey reads only version {VERSION}")
    return ring


class SigningKeys:
    """Keys that sign and verify Wirekey's tokens. For one thread.

    `lifetime`: of the tokens that are signed, in seconds; it may be changed.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._signer: tuple[str, Ed25519PrivateKey]
        self._verifying: list[tuple[VerificationKey, float | None]] = []
        self._set = KeySet()

    def use(self, keys: Sequence[tuple[Ed25519PrivateKey, float | None]], signer: int | None) -> None:
        """Replace the keys. Each verifies until its end (Unix seconds; None: none). `signer`: which one signs."""
        self._verifying = []
        for number, (private, ends) in enumerate(keys):
            kid = thumbprint(public_jwk(private.public_key()))
            self._verifying.append((VerificationKey(private.public_key(), (ALGORITHM,), kid, kid), ends))
            if number == signer:
                self._signer = kid, private
        self._set = KeySet(key for key, _ in self._verifying)

    def refresh(self) -> None:
        """Reload the keys if they changed. Call it twice a second. Never raises."""

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a signed token with these claims."""
        kid, private = self._signer
        return jwt.encode(claims, private, algorithm=ALGORITHM, headers={"kid": kid, "typ": TYPE})

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key of an id, or None. Wirekey's tokens always have a key id."""
        key = self._set.find(kid, algorithm) if kid else None
        return key if key and self.holds(key.thumbprint) else None

    def holds(self, thumbprint: str) -> bool:
        """Return whether a key of this thumbprint still verifies tokens."""
        return any(
            key.thumbprint == thumbprint and (ends is None or self._clock() < ends) for key, ends in self._verifying
        )

    def document(self) -> bytes:
        """Return the public keys as a JSON Web Key Set."""
        keys = [
            {**public_jwk(key.public), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
            for key, _ in self._verifying
            if self.holds(key.thumbprint)
        ]
        return json.dumps({"keys": keys}).encode()


class JwtSigningKeys(SigningKeys):
    """The signing keys of one state folder. Several processes may share the file. Raises JwtSigningKeysError."""

    def __init__(self, path: Path, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        super().__init__(lifetime, clock)
        self.path = path
        self._version: FileVersion = None
        self._ring = KeyRing()
        self._reload()
        self._renew()

    def refresh(self) -> None:
        """Reload the file if it changed, and rotate if due. Call it twice a second.

        Never raises; on errors the keys stay.
        """
        try:
            self._reload()
            self._renew()
        except JwtSigningKeysError as error:
            logger.error("%s The previous keys stay in use.", error)  # noqa: TRY400  # the message is complete

    def rotate(self) -> None:
        """Create a new signing key now. Raises JwtSigningKeysError."""
        self._change(lambda ring, now: rotated(ring, now, self.lifetime + SPARE))

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
        self._reload()

    def _reload(self) -> None:
        try:
            version = private_file.file_version(self.path)
        except OSError as error:
            raise JwtSigningKeysError(f"{self.path} cannot be read: {error.strerror}.") from error
        if version != self._version:
            self._version = version
            self._use(self._read())

    def _read(self) -> KeyRing:
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return KeyRing()
        except OSError as error:
            raise JwtSigningKeysError(f"{self.path} cannot be read: {error.strerror}.") from error
        with open(file, "rb") as stream:  # noqa: PTH123  # opens a descriptor, which Path cannot
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise JwtSigningKeysError(
                    f"{self.path} can be read by other users, or is not a regular file. Restrict it "
                    f"(chmod 600 {self.path}), or delete it and Wirekey creates new keys."
                )
            data = stream.read()
        try:
            return decode(data)
        except ValueError as error:
            raise JwtSigningKeysError(
                f"{self.path} {error}. Restore a copy, or delete it: Wirekey creates new keys, and agents "
                "get new tokens."
            ) from None

    def _use(self, ring: KeyRing) -> None:
        self._ring = ring
        keys = [(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.private)), key.ends) for key in ring.keys]
        self.use(keys, signer=next((number for number, key in enumerate(ring.keys) if key.ends is None), None))
