"""Access key pairs of the agents, in AWS's form: nothing of them is stored but how many there were.

Both halves are derived (HKDF, RFC 5869) from the master secret of the state folder, the agent's id, a random series
and a generation. The series is new whenever an agent is given its first pair, so that one who was revoked and is added
again does not get its old pairs back. The access key id begins with WKEY: no AWS key does, and no scanner for leaked
AWS keys takes it for one.
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

from wirekey.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "WKEY"
ACCESS_KEY = re.compile(rf"{PREFIX}[A-Z2-7]{{16}}", re.ASCII)
"""20 characters, as AWS's are: the prefix, and 80 bits in base32."""
ID_BYTES, SECRET_BYTES = 10, 30
"""30 bytes are 40 characters of base64, which is AWS's alphabet for secrets."""

Time = Annotated[datetime, Meta(tz=True)]


class AwsPairRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pairs an agent has: the one of `generation`, and the one before it until `former_until`."""

    series: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    generation: Annotated[int, Meta(ge=1)] = 1
    created: Time
    former_until: Time | None = None


@dataclass(frozen=True, slots=True)
class KeyPair:
    access_key: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class PairOwner:
    """Whose a pair is, and until when it is good (Unix seconds; None: without end)."""

    agent_id: str
    pair: KeyPair
    expires: float | None = None


def first(now: datetime) -> AwsPairRecord:
    return AwsPairRecord(series=secrets.token_hex(16), created=now)


def rotate(record: AwsPairRecord, now: datetime, overlap_seconds: float = 0) -> AwsPairRecord:
    """Go to the next pair. The one until now is good for `overlap_seconds` more; the one before it ends at once."""
    until = now + timedelta(seconds=overlap_seconds) if overlap_seconds > 0 else None
    return replace(record, generation=record.generation + 1, created=now, former_until=until)


def key_pair(master: Secret, agent_id: str, series: str, generation: int) -> KeyPair:
    """Derive a pair: the same for the same arguments, always."""
    info = "\0".join(("wirekey aws pair 1", agent_id, series, str(generation))).encode()
    derived = HKDF(SHA256(), ID_BYTES + SECRET_BYTES, salt=None, info=info).derive(bytes.fromhex(master.reveal()))
    return KeyPair(
        PREFIX + base64.b32encode(derived[:ID_BYTES]).decode(),
        Secret(base64.b64encode(derived[ID_BYTES:]).decode()),
    )


def current_pair(master: Secret, agent_id: str, record: AwsPairRecord) -> KeyPair:
    return key_pair(master, agent_id, record.series, record.generation)


class AwsPairs:
    """The pairs of all agents that have one and are not revoked: found by access key id."""

    def __init__(self, master: Secret, records: Iterable[tuple[str, AwsPairRecord]]) -> None:
        self._owners: dict[str, PairOwner] = {}
        for agent_id, record in records:
            self._add(PairOwner(agent_id, current_pair(master, agent_id, record)))
            if record.former_until is not None:
                previous = key_pair(master, agent_id, record.series, record.generation - 1)
                self._add(PairOwner(agent_id, previous, record.former_until.timestamp()))

    def find(self, access_key: str, now: float) -> PairOwner | None:
        """Give whose access key this is; None where it is nobody's, or its time is over."""
        owner = self._owners.get(access_key)
        return owner if owner and (owner.expires is None or now < owner.expires) else None

    def secrets(self) -> Iterable[bytes]:
        """Return the secret halves, for what is recorded to be searched for."""
        return [owner.pair.secret.reveal().encode() for owner in self._owners.values()]

    def _add(self, owner: PairOwner) -> None:
        self._owners[owner.pair.access_key] = owner
