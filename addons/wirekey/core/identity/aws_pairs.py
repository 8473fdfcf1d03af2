"""AWS-style access key pairs of the agents. They are derived, so only their generation is stored.

Both halves are derived (HKDF, RFC 5869) from a master secret, the agent's id, a random series and a generation. The
series is new whenever an agent gets its first pair, so that an agent that was revoked and added again does not get its
old pairs back. The access key id begins with WKEY. No AWS key does, so scanners for leaked AWS keys ignore it.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct
from msgspec.structs import replace

from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "WKEY"
ACCESS_KEY = re.compile(rf"{PREFIX}[A-Z2-7]{{16}}", re.ASCII)
"""20 characters, like those of AWS: the prefix, then 80 bits in base32."""
ID_BYTES, SECRET_BYTES = 10, 30
"""30 bytes are 40 characters of base64, the alphabet of AWS secrets."""

Time = Annotated[datetime, Meta(tz=True)]


class AwsPairRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pairs of an agent: that of `generation`, and the previous one until `previous_until`."""

    series: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    generation: Annotated[int, Meta(ge=1)] = 1
    created: Time
    previous_until: Time | None = None


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key id and its secret, issued by Wirekey to an agent."""

    access_key: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class PairOwner:
    """A key pair, its agent, and when it expires (Unix seconds; None: never)."""

    agent_id: str
    pair: KeyPair
    expires: float | None = None


def first(now: datetime) -> AwsPairRecord:
    """Return the record of a first key pair, with a new random series."""
    return AwsPairRecord(series=secrets.token_hex(16), created=now)


def rotate(record: AwsPairRecord, now: datetime, overlap_seconds: float = 0) -> AwsPairRecord:
    """Return the record with the next pair.

    The current pair stays valid for `overlap_seconds`; the one before expires.
    """
    until = now + timedelta(seconds=overlap_seconds) if overlap_seconds > 0 else None
    return replace(record, generation=record.generation + 1, created=now, previous_until=until)


def key_pair(master: Secret, agent_id: str, series: str, generation: int) -> KeyPair:
    """Derive a pair. The same arguments always return the same pair."""
    info = "\0".join(("wirekey aws pair 1", agent_id, series, str(generation))).encode()
    derived = HKDF(SHA256(), ID_BYTES + SECRET_BYTES, salt=None, info=info).derive(bytes.fromhex(master.reveal()))
    return KeyPair(
        PREFIX + base64.b32encode(derived[:ID_BYTES]).decode(),
        Secret(base64.b64encode(derived[ID_BYTES:]).decode()),
    )


def current_pair(master: Secret, agent_id: str, record: AwsPairRecord) -> KeyPair:
    """Return the key pair of the current generation."""
    return key_pair(master, agent_id, record.series, record.generation)


class AwsPairs:
    """The valid key pairs of all agents that are not revoked, found by access key id.

    `previous`: further master secrets whose pairs are valid.
    """

    def __init__(
        self, master: Secret, records: Iterable[tuple[str, AwsPairRecord]], previous: Iterable[Secret] = ()
    ) -> None:
        self._owners: dict[str, PairOwner] = {}
        masters = (master, *previous)
        for agent_id, record in records:
            for each in masters:
                self._add(PairOwner(agent_id, current_pair(each, agent_id, record)))
                if record.previous_until is not None:
                    pair = key_pair(each, agent_id, record.series, record.generation - 1)
                    self._add(PairOwner(agent_id, pair, record.previous_until.timestamp()))

    def find(self, access_key: str, now: float) -> PairOwner | None:
        """Return the owner of an access key, or None if it is unknown or expired at `now` (Unix seconds)."""
        owner = self._owners.get(access_key)
        return owner if owner and (owner.expires is None or now < owner.expires) else None

    def secrets(self) -> Iterable[bytes]:
        """Return the secret halves, so that records can be searched for them."""
        return [owner.pair.secret.reveal().encode() for owner in self._owners.values()]

    def _add(self, owner: PairOwner) -> None:
        self._owners[owner.pair.access_key] = owner
