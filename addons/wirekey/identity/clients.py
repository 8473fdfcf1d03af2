"""Client credentials (OAuth 2.0): an id that may be known, and a secret, with which a program gets itself short tokens.

The secret is 256 bits of chance and is stored as a plain SHA-256, for the reason given in `tokens`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from wirekey.secret import Secret

if TYPE_CHECKING:
    from wirekey.call import Agent

ID_PREFIX, SECRET_PREFIX = "wkc_", "wks_"
ALPHABET = string.ascii_letters + string.digits
ID_LENGTH, SECRET_LENGTH = 22, 43

CLIENT_ID = re.compile(rf"{ID_PREFIX}[A-Za-z0-9]{{{ID_LENGTH}}}", re.ASCII)
CLIENT_SECRET = re.compile(rf"{SECRET_PREFIX}[A-Za-z0-9]{{{SECRET_LENGTH}}}", re.ASCII)

UNKNOWN_CLIENT_DIGEST = hashlib.sha256(secrets.token_bytes(32)).digest()
"""Compared with where there is no such client, so that it takes as long as where there is one."""

Time = Annotated[datetime, Meta(tz=True)]


class ClientRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client of an agent, its secret by hash only. `expires_at` None: until it is rotated or the agent revoked."""

    id: Annotated[str, Meta(pattern=rf"^{ID_PREFIX}[A-Za-z0-9]{{{ID_LENGTH}}}\Z")]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Time
    expires_at: Time | None = None


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What is shown once, when it is made."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client that is in force: whose it is, and until when (Unix seconds; None: without end)."""

    id: str
    agent: Agent
    digest: bytes
    expires: float | None = None


def new_credentials() -> ClientCredentials:
    return ClientCredentials(ID_PREFIX + random_text(ID_LENGTH), Secret(SECRET_PREFIX + random_text(SECRET_LENGTH)))


def new_record(credentials: ClientCredentials, now: datetime) -> ClientRecord:
    digest = secret_digest(credentials.client_secret.reveal())
    return ClientRecord(id=credentials.client_id, hash=digest.hex(), created=now)


def secret_digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def is_secret_of(client: OAuthClient | None, secret: str) -> bool:
    """Tell whether the secret is this client's, in the same time for every answer; None is nobody."""
    same = hmac.compare_digest(client.digest if client else UNKNOWN_CLIENT_DIGEST, secret_digest(secret))
    return same and client is not None


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
