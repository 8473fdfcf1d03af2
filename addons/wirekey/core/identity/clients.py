"""OAuth 2.0 client credentials: a public id and a secret, with which a program gets short-lived tokens.

A secret made here is 256 random bits and is stored as a plain SHA-256, for the reason given in `tokens`. An imported
one is stored by a keyed hash, for the reason given in `imported_credentials`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from wirekey.core.call import Agent

ID_PREFIX, SECRET_PREFIX = "wkc_", "wks_"
ALPHABET = string.ascii_letters + string.digits
ID_LENGTH, SECRET_LENGTH = 22, 43

CLIENT_ID = re.compile(rf"{ID_PREFIX}[A-Za-z0-9]{{{ID_LENGTH}}}", re.ASCII)
LONGEST_ID = 128

UNKNOWN_CLIENT_DIGEST = hashlib.sha256(secrets.token_bytes(32)).digest()
"""Compared with if the client is unknown, so that both cases take the same time."""

Time = Annotated[datetime, Meta(tz=True)]


class ClientRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client of an agent, its secret stored by hash only. `expires_at` None: valid until rotated or revoked."""

    id: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Time
    expires_at: Time | None = None
    imported: bool | UnsetType = UNSET
    """Whether the operator imported it, so that its hash is keyed. Unset: no."""
    guessable: bool | UnsetType = UNSET
    """Whether its secret has less than 128 bits of entropy. Unset: no."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """New client credentials, shown once, when they are created."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A valid client: its agent, the digest of its secret, and when it expires (Unix seconds; None: never).

    `keys`: of the digest, if the client was imported: it was made with one of them.
    """

    id: str
    agent: Agent
    digest: bytes
    expires: float | None = None
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    guessable: bool = False


def new_credentials() -> ClientCredentials:
    """Return new random client credentials."""
    return ClientCredentials(ID_PREFIX + random_text(ID_LENGTH), Secret(SECRET_PREFIX + random_text(SECRET_LENGTH)))


def new_record(credentials: ClientCredentials, now: datetime) -> ClientRecord:
    """Return the stored form of client credentials."""
    digest = secret_digest(credentials.client_secret.reveal())
    return ClientRecord(id=credentials.client_id, hash=digest.hex(), created=now)


def secret_digest(secret: str, key: bytes | None = None) -> bytes:
    """Return the hash under which a client secret is stored. `key`: of the hashes of imported secrets."""
    data = secret.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).digest() if key is None else hmac.digest(key, data, "sha256")


def is_secret_of(client: OAuthClient | None, secret: str) -> bool:
    """Return whether the secret belongs to the client, in constant time. `client` None: the id is unknown."""
    keys = (client.keys if client else ()) or (None,)
    digest = client.digest if client else UNKNOWN_CLIENT_DIGEST
    same = [hmac.compare_digest(digest, secret_digest(secret, key)) for key in keys]
    return any(same) and client is not None


def random_text(length: int) -> str:
    """Return random letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
