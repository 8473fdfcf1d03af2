"""The agents and their tokens as they are stored: the format of `agents.json`, and each change to it. Pure."""

from __future__ import annotations

import difflib
import re
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from wirekey import permissions
from wirekey.errors import UserError
from wirekey.identity import aws_pairs, clients
from wirekey.identity.clients import ClientCredentials, ClientRecord
from wirekey.identity.tokens import TOKEN, token_digest, token_id

VERSION = 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
LABEL = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)

Time = Annotated[datetime, Meta(tz=True)]


class AgentRecordsError(Exception):
    """What is wrong with the stored agents, without a final period."""


class AgentError(UserError):
    """A change that cannot be made: the sentence says why, and what can."""


class TokenRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token, by its hash only. `expires_at` None: until it is rotated or the agent revoked."""

    id: str
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    label: str
    created: Time
    expires_at: Time | None = None
    strict: bool | UnsetType = UNSET
    """Whether its bearer gets to no other hosts than those that `egress.other_hosts: deny` leaves. Unset: no."""


class AgentRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    role: str | None = None
    type: str | None = None
    created: Time
    revoked_at: Time | None = None
    tokens: tuple[TokenRecord, ...] = ()
    clients: tuple[ClientRecord, ...] = ()
    permissions: tuple[Annotated[str, Meta(pattern=permissions.STORED)], ...] | None = None
    """None: the usual ones."""
    aws: aws_pairs.AwsPairRecord | None = None
    """Which AWS key pairs it has; they are derived, not stored."""


class AgentRecords(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int = VERSION
    agents: tuple[AgentRecord, ...] = ()

    def agent(self, name: str) -> AgentRecord:
        """Raise AgentError, with the nearest name, where there is no such agent."""
        for agent in self.agents:
            if agent.id == name:
                return agent
        near = difflib.get_close_matches(name, [agent.id for agent in self.agents], 1)
        hint = f"Did you mean {near[0]}?" if near else "See: wirekey agents list."
        raise AgentError(f"There is no agent {name!r}. {hint}")

    def with_agent(self, agent: AgentRecord) -> AgentRecords:
        """Put the agent in the place of the one of its name, or at the end."""
        if any(other.id == agent.id for other in self.agents):
            agents = tuple(agent if other.id == agent.id else other for other in self.agents)
        else:
            agents = (*self.agents, agent)
        return replace(self, agents=agents)


class Versioned(Struct):
    version: int


def decode(data: bytes) -> AgentRecords:
    """Read `agents.json`. Raises AgentRecordsError."""
    try:
        version = msgspec.json.decode(data, type=Versioned).version
        if version != VERSION:
            raise AgentRecordsError(f"has format version {version}, and this Wirekey knows version {VERSION} only")
        records = msgspec.json.decode(data, type=AgentRecords)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AgentRecordsError(f"is not a valid list of agents ({error})") from error
    names = [agent.id for agent in records.agents]
    if len(set(names)) != len(names):
        raise AgentRecordsError("has two agents of the same name")
    hashes = [token.hash for agent in records.agents for token in agent.tokens]
    if len(set(hashes)) != len(hashes):
        raise AgentRecordsError("has the same token twice")
    client_ids = [client.id for agent in records.agents for client in agent.clients]
    if len(set(client_ids)) != len(client_ids):
        raise AgentRecordsError("has the same client twice")
    return records


def encode(records: AgentRecords) -> bytes:
    return msgspec.json.format(msgspec.json.encode(records), indent=2) + b"\n"


def add(
    records: AgentRecords,
    name: str,
    token: str | ClientCredentials,
    now: datetime,
    *,
    role: str | None,
    type_: str | None,
    permitted: tuple[str, ...] | None = None,
) -> AgentRecords:
    """Add an agent with a token or client credentials, or put a revoked one back to work."""
    check_name(name)
    try:
        permitted = None if permitted is None else permissions.normalized(permitted)
    except ValueError as error:
        raise AgentError(str(error)) from error
    for option, word in (("role", role), ("type", type_)):
        if word is not None and not LABEL.fullmatch(word):
            raise AgentError(f"{word[:80]!r} is no {option}. Use 1 to 64 visible ASCII characters without spaces.")
    for other in records.agents:
        if other.id == name and other.revoked_at is None:
            raise AgentError(f"There is an agent {name} already. For a new token: wirekey agents rotate {name}.")
    agent = AgentRecord(id=name, role=role, type=type_, created=now, permissions=permitted)
    if isinstance(token, ClientCredentials):
        return records.with_agent(replace(agent, clients=(clients.new_record(token, now),)))
    return records.with_agent(replace(agent, tokens=(new_record(token, "main", now, None),)))


def ensure(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Add an agent without a token, unless there is one of that name."""
    check_name(name)
    if any(agent.id == name for agent in records.agents):
        return records
    return records.with_agent(AgentRecord(id=name, created=now))


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise AgentError(f"{name[:80]!r} is no name for an agent. Use 1 to 64 letters, digits, '.', '_' and '-'.")


def rotate(records: AgentRecords, name: str, token: str, now: datetime, overlap: float) -> AgentRecords:
    """Give the agent a new token; its others end after `overlap` seconds, 0: at once."""
    agent = active(records, name)
    previous = ending(agent.tokens, now, overlap)
    return records.with_agent(replace(agent, tokens=(*previous, new_record(token, "main", now, None))))


def rotate_client(
    records: AgentRecords, name: str, new: ClientCredentials, now: datetime, overlap: float
) -> AgentRecords:
    """Give the agent client credentials; those it had, and the JWTs got with them, end after `overlap` seconds."""
    agent = active(records, name)
    previous = ending(agent.clients, now, overlap)
    return records.with_agent(replace(agent, clients=(*previous, clients.new_record(new, now))))


def ensure_pair(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Give the agent its first AWS key pair, unless it has one."""
    agent = active(records, name)
    return records if agent.aws else records.with_agent(replace(agent, aws=aws_pairs.first(now)))


def rotate_pair(records: AgentRecords, name: str, now: datetime, overlap: float) -> AgentRecords:
    """Go to the agent's next AWS key pair, or give it its first; the one until now ends after `overlap` seconds."""
    agent = active(records, name)
    latest = aws_pairs.rotate(agent.aws, now, overlap) if agent.aws else aws_pairs.first(now)
    return records.with_agent(replace(agent, aws=latest))


def ending[Record: (TokenRecord, ClientRecord)](
    records: tuple[Record, ...], now: datetime, overlap: float
) -> tuple[Record, ...]:
    end = now + timedelta(seconds=overlap)
    return tuple(
        replace(old, expires_at=min(old.expires_at or end, end)) for old in unexpired(records, now) if overlap > 0
    )


def revoke(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """End the agent. Its record stays, so that the audit's names can be explained."""
    agent = records.agent(name)
    return records.with_agent(replace(agent, revoked_at=agent.revoked_at or now, tokens=(), clients=(), aws=None))


def issue(
    records: AgentRecords,
    name: str,
    token: str,
    now: datetime,
    *,
    label: str,
    lifetime: float | None,
    strict: bool = False,
) -> AgentRecords:
    """Add a token to the agent, valid for `lifetime` seconds."""
    agent = active(records, name)
    expires = None if lifetime is None else now + timedelta(seconds=lifetime)
    issued = replace(new_record(token, label, now, expires), strict=strict or UNSET)
    tokens = (*unexpired(agent.tokens, now), issued)
    return records.with_agent(replace(agent, tokens=tokens))


def drop(records: AgentRecords, name: str, token: str, now: datetime) -> AgentRecords:
    """Take one token, given itself or by its id, from the agent; nothing happens where it is gone already."""
    agent = records.agent(name)
    dropped = token_id(token) if TOKEN.fullmatch(token) else token
    tokens = tuple(other for other in unexpired(agent.tokens, now) if other.id != dropped)
    return records.with_agent(replace(agent, tokens=tokens))


def active(records: AgentRecords, name: str) -> AgentRecord:
    agent = records.agent(name)
    if agent.revoked_at:
        raise AgentError(f"The agent {name} was revoked. To put it back to work: wirekey agents add {name}.")
    return agent


def unexpired[Record: (TokenRecord, ClientRecord)](records: tuple[Record, ...], now: datetime) -> tuple[Record, ...]:
    return tuple(record for record in records if record.expires_at is None or record.expires_at > now)


def new_record(token: str, label: str, now: datetime, expires: datetime | None) -> TokenRecord:
    return TokenRecord(
        id=token_id(token), hash=token_digest(token).hex(), label=label[:64], created=now, expires_at=expires
    )
