"""Signed checkpoints of the audit log: what was stored up to a link of the chain. Pure, except for `append` and `log`.

A chain alone does not show that its end was cut off, or that somebody wrote it again. A checkpoint does: it is
signed with a key that the database does not contain, and is also kept outside of it, in the log and in a file.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)
"""Gets the checkpoints and nothing else. It is quiet on a terminal, which keeps no line."""

type Reason = Literal["begin", "interval", "stop", "prune"]

KEY_USE = b"wirekey audit checkpoints"
"""The use of the key, from which it is derived."""
PURPOSE = b"wirekey audit checkpoint\n"
"""The signed bytes begin with this, so that no other signature of the key counts as one of a checkpoint."""
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
HEX_HASH = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class CheckpointsError(UserError):
    """A file of checkpoints cannot be used. The message names it and the fix."""


class Checkpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of a chain at one moment. `seq` and `hash`: of its last link. `time`: RFC 3339, UTC.

    `reason`: `begin` (the chain is new), `interval`, `stop`, or `prune`: what is before this link was deleted.
    """

    chain: str
    seq: int
    hash: HEX_HASH
    time: str
    reason: Reason
    first_id: str | None = None
    """With `begin` and `prune`: calls whose id is smaller need no link."""
    before: int | None = None
    """With `begin`: the number of calls that the database already had."""
    key: str = ""
    """Id of the key that signed: see `key_id`."""
    signature: str = ""
    """Ed25519, in hex."""

    def document(self) -> str:
        """Return the checkpoint as one line of JSON."""
        return msgspec.json.encode(self).decode()

    def signed_bytes(self) -> bytes:
        """Return what the signature is made of."""
        fields = {name: value for name, value in asdict(self).items() if name != "signature" and value is not None}
        return PURPOSE + msgspec.json.encode(fields, order="sorted")


_decoder = msgspec.json.Decoder(Checkpoint)


class CheckpointKey:
    """The key of an installation that signs checkpoints. `seed`: 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key()
        self.id = key_id(self.public)

    def signed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with its signature."""
        unsigned = replace(checkpoint, key=self.id, signature="")
        return replace(unsigned, signature=self._private.sign(unsigned.signed_bytes()).hex())


def key_id(public: Ed25519PublicKey) -> str:
    """Return the id of a public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def problem_of(checkpoint: Checkpoint, keys: Mapping[str, Ed25519PublicKey]) -> str | None:
    """Return why the signature of a checkpoint does not count, or None if it does. `keys`: by their id."""
    public = keys.get(checkpoint.key)
    if public is None:
        return f"is signed with the unknown key {checkpoint.key or '(none)'}"
    try:
        public.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed_bytes())
    except (InvalidSignature, ValueError):
        return "has an invalid signature"
    return None


def decode(document: str | bytes) -> Checkpoint:
    """Parse a checkpoint. Raises ValueError."""
    try:
        return _decoder.decode(document)
    except msgspec.DecodeError as error:
        raise ValueError(f"is not a checkpoint: {error}") from None


def check_writable(path: Path) -> None:
    """Raise CheckpointsError if no checkpoint can be added to this file."""
    try:
        os.close(os.open(path, FLAGS, 0o600))
    except OSError as error:
        raise CheckpointsError(
            f"audit.checkpoints: {path} cannot be written: {error.strerror}. Create its folder, or allow Wirekey to "
            "write there."
        ) from error


def log(checkpoint: Checkpoint) -> None:
    """Log a checkpoint as JSON."""
    logger.info("audit checkpoint %s", checkpoint.document())


def append(path: Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint to a file, on disk when this returns. Raises OSError."""
    file = os.open(path, FLAGS, 0o600)
    try:
        os.write(file, checkpoint.document().encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


def read(path: Path) -> list[Checkpoint]:
    """Return the checkpoints of a file. Lines that contain none, such as other lines of a log, are skipped.

    Raises CheckpointsError if the file cannot be read or has a damaged checkpoint.
    """
    try:
        with path.open("rb") as lines:
            return list(found_in(lines, path))
    except OSError as error:
        raise CheckpointsError(f"The checkpoints in {path} cannot be read: {error.strerror}.") from error


def found_in(lines: Iterable[bytes], path: Path) -> Iterable[Checkpoint]:
    """Yield the checkpoints of lines: JSON that is a checkpoint, or has it as `checkpoint`, or ends with it."""
    for number, line in enumerate(lines, 1):
        document = document_in(line)
        if document is None:
            continue
        try:
            yield decode(document)
        except ValueError as error:
            raise CheckpointsError(f"{path}:{number} {error}. Restore a copy of the file.") from None


def document_in(line: bytes) -> bytes | None:
    """Return the JSON of a checkpoint in a line of a log or of a file of checkpoints, or None."""
    line = line.replace(b'\\"', b'"')  # in the text of a JSON line
    start = line.find(b'{"chain":')
    if start < 0:
        return None
    end = line.find(b"}", start)
    return line[start : end + 1] if end > 0 else line[start:]


def fields_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields that are set, for JSON."""
    return {name: value for name, value in asdict(checkpoint).items() if value is not None}
