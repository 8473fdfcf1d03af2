"""The stored form of agents and their tokens (`agents.json`), and each change to it. Pure."""

from __future__ import annotations

import difflib
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from wirekey import permissions
from wirekey.errors import UserError
from wirekey.identity import aws_pairs, clients
from wirekey.identity.clients import ClientCredentials, ClientRecord
from wirekey.identity.tokens import TOKEN, token_digest, token_id

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
LABEL = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)

Time = Annotated[datetime, Meta(tz=True)]


class AgentRecordsError(Exception):
    """The stored agents are invalid. The message follows the file name and has no final period."""


class AgentError(UserError):
    """A change to the agents is not possible. The message says why and what to do instead."""


class UnknownAgentError(AgentError):
    """There is no agent of a name."""


class TokenRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token, stored by its hash only. `expires_at` None: valid until it is rotated or the agent is revoked."""

    id: str
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    label: str
    created: Time
    expires_at: Time | None = None
    strict: bool | UnsetType = UNSET
    """Whether the token reaches only the hosts that `egress.other_hosts: deny` allows. Unset: no."""
    imported: bool | UnsetType = UNSET
    """Whether the operator imported it, so that its hash is keyed. Unset: no."""
    guessable: bool | UnsetType = UNSET
    """Whether it has less than 128 bits of entropy. Unset: no."""


class AgentRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent as stored: its attributes and all its credentials. A revoked agent keeps its record."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    role: str | None = None
    type: str | None = None
    created: Time
    revoked_at: Time | None = None
    tokens: tuple[TokenRecord, ...] = ()
    clients: tuple[ClientRecord, ...] = ()
    permissions: tuple[Annotated[str, Meta(pattern=permissions.STORED)], ...] | None = None
    """None: the default ones."""
    aws: aws_pairs.AwsPairRecord | None = None
    """The generation of its AWS key pairs, which are derived, not stored."""
    suspended: bool | UnsetType = UNSET
    """Whether its credentials do not work until this is reset. Unset: no."""
    suspension_changed: Time | UnsetType = UNSET
    """When `suspended` was set or reset last. Unset: never."""

    @property
    def is_active(self) -> bool:
        """Return whether its credentials work: it is neither revoked nor suspended."""
        return self.revoked_at is None and self.suspended is not True


class Suspension(NamedTuple):
    """When an agent was suspended or resumed, and which of both. The later one of two applies."""

    moment: datetime
    suspended: bool


class AgentRecords(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole content of `agents.json`."""

    version: int = VERSION
    agents: tuple[AgentRecord, ...] = ()

    def agent(self, name: str) -> AgentRecord:
        """Return the agent of a name. Raises UnknownAgentError, with the nearest name, if it does not exist."""
        for agent in self.agents:
            if agent.id == name:
                return agent
        near = difflib.get_close_matches(name, [agent.id for agent in self.agents], 1)
        hint = f"Did you mean {near[0]}?" if near else "See: wirekey agents list."
        raise UnknownAgentError(f"There is no agent {name!r}. {hint}")

    def with_agent(self, agent: AgentRecord) -> AgentRecords:
        """Return the records with this agent in place of the one of its name, or added at the end."""
        if any(other.id == agent.id for other in self.agents):
            agents = tuple(agent if other.id == agent.id else other for other in self.agents)
        else:
            agents = (*self.agents, agent)
        return replace(self, agents=agents)


_decoder = msgspec.json.Decoder(AgentRecords)


class Versioned(Struct):
    """The part of the file that every format version has."""

    version: int


_version_decoder = msgspec.json.Decoder(Versioned)


def decode(data: bytes) -> AgentRecords:
    """Parse `agents.json`. Raises AgentRecordsError."""
    try:
        version = _version_decoder.decode(data).version
        if version != VERSION:
            raise AgentRecordsError(f"has format version {version}; this Wirekey reads only version {VERSION}")
        records = _decoder.decode(data)
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
    made_here = (client.id for agent in records.agents for client in agent.clients if client.imported is not True)
    if not all(map(clients.CLIENT_ID.fullmatch, made_here)):
        raise AgentRecordsError("has a client with an id that Wirekey does not make")
    return records


def exported(content: bytes) -> AgentRecords | None:
    """Return the agents of a file that `agents export` has written, or None if it is another one.

    Raises AgentRecordsError.
    """
    try:
        _version_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decode(content)


def encode(records: AgentRecords) -> bytes:
    """Return the content of `agents.json` for these records."""
    return msgspec.json.format(msgspec.json.encode(records), indent=2) + b"\n"


def encode_agent(agent: AgentRecord) -> bytes:
    """Return one agent as in `agents.json`."""
    return msgspec.json.encode(agent)


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
    """Add an agent with a token or client credentials, or reactivate a revoked one. Raises AgentError."""
    check_name(name)
    permitted = checked_attributes(role, type_, permitted)
    for other in records.agents:
        if other.id == name and other.revoked_at is None:
            raise AgentError(f"The agent {name} already exists. For a new token: wirekey agents rotate {name}.")
    agent = AgentRecord(id=name, role=role, type=type_, created=now, permissions=permitted)
    if isinstance(token, ClientCredentials):
        return records.with_agent(replace(agent, clients=(clients.new_record(token, now),)))
    return records.with_agent(replace(agent, tokens=(new_record(token, "main", now, None),)))


def checked_attributes(
    role: str | None, type_: str | None, permitted: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Check the attributes of an agent, and return its permissions, sorted. Raises AgentError."""
    for option, value in (("role", role), ("type", type_)):
        if value is not None and not LABEL.fullmatch(value):
            raise AgentError(
                f"{value[:80]!r} is not a valid {option}. Use 1 to 64 visible ASCII characters without spaces."
            )
    try:
        return None if permitted is None else permissions.normalized(permitted)
    except ValueError as error:
        raise AgentError(str(error)) from error


def change(
    records: AgentRecords,
    name: str,
    now: datetime,
    *,
    role: str | None = None,
    type_: str | None = None,
    permitted: tuple[str, ...] | None = None,
    suspended: bool | None = None,
) -> AgentRecords:
    """Change attributes of an agent. None keeps a value, an empty one resets it. Raises AgentError."""
    agent = active(records, name)
    checked = checked_attributes(role or None, type_ or None, permitted or None)
    if suspended is not None and suspended != (agent.suspended is True):
        agent = replace(agent, suspended=suspended or UNSET, suspension_changed=now)
    return records.with_agent(
        replace(
            agent,
            role=agent.role if role is None else role or None,
            type=agent.type if type_ is None else type_ or None,
            permissions=agent.permissions if permitted is None else checked,
        )
    )


def ensure(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Add an agent without a token, unless an agent of that name exists."""
    check_name(name)
    if any(agent.id == name for agent in records.agents):
        return records
    return records.with_agent(AgentRecord(id=name, created=now))


def check_name(name: str) -> None:
    """Raise AgentError if a name is not valid for an agent."""
    if not NAME.fullmatch(name):
        raise AgentError(f"{name[:80]!r} is not a valid agent name. Use 1 to 64 letters, digits, '.', '_' and '-'.")


def rotate(records: AgentRecords, name: str, token: str, now: datetime, overlap: float) -> AgentRecords:
    """Add a new token to the agent. Its other tokens expire after `overlap` seconds; 0 means immediately."""
    agent = active(records, name)
    previous = expiring(agent.tokens, now, overlap)
    return records.with_agent(replace(agent, tokens=(*previous, new_record(token, "main", now, None))))


def rotate_client(
    records: AgentRecords, name: str, new: ClientCredentials, now: datetime, overlap: float
) -> AgentRecords:
    """Add client credentials to the agent.

    Its previous ones, and the JWTs issued for them, expire after `overlap` seconds.
    """
    agent = active(records, name)
    previous = expiring(agent.clients, now, overlap)
    return records.with_agent(replace(agent, clients=(*previous, clients.new_record(new, now))))


def ensure_pair(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Create the first AWS key pair of the agent, unless it has one."""
    agent = active(records, name)
    return records if agent.aws else records.with_agent(replace(agent, aws=aws_pairs.first(now)))


def rotate_pair(records: AgentRecords, name: str, now: datetime, overlap: float) -> AgentRecords:
    """Move to the next AWS key pair of the agent, or create its first.

    The current one expires after `overlap` seconds.
    """
    agent = active(records, name)
    latest = aws_pairs.rotate(agent.aws, now, overlap) if agent.aws else aws_pairs.first(now)
    return records.with_agent(replace(agent, aws=latest))


def expiring[Record: (TokenRecord, ClientRecord)](
    records: tuple[Record, ...], now: datetime, overlap: float
) -> tuple[Record, ...]:
    """Return the unexpired records, each set to expire after `overlap` seconds at the latest."""
    end = now + timedelta(seconds=overlap)
    return tuple(
        replace(old, expires_at=min(old.expires_at or end, end)) for old in unexpired(records, now) if overlap > 0
    )


def revoke(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Revoke the agent. Its record stays, so that names in the audit can still be explained."""
    agent = records.agent(name)
    return records.with_agent(replace(agent, revoked_at=agent.revoked_at or now, tokens=(), clients=(), aws=None))


def revoke_all(records: AgentRecords, revoked: Mapping[str, datetime]) -> AgentRecords:
    """Revoke agents that were revoked elsewhere, given when. One that was added after that stays active.

    A name without a record gets one, as where it was revoked.
    """
    known = {agent.id: agent for agent in records.agents}
    for name, moment in revoked.items():
        agent = known.get(name) or AgentRecord(id=name, created=moment)
        if agent.revoked_at is None and agent.created <= moment:
            records = records.with_agent(replace(agent, revoked_at=moment, tokens=(), clients=(), aws=None))
    return records


def suspend_all(records: AgentRecords, changes: Mapping[str, Suspension]) -> AgentRecords:
    """Suspend and resume agents as elsewhere. One that was added or changed here after that stays as it is."""
    for agent in records.agents:
        change = changes.get(agent.id)
        if change and not agent.revoked_at and last_suspension(agent).moment < change.moment:
            latest = replace(agent, suspended=change.suspended or UNSET, suspension_changed=change.moment)
            records = records.with_agent(latest)
    return records


def last_suspension(agent: AgentRecord) -> Suspension:
    """Return whether an agent is suspended, and since when. One that never was is not, since it was added."""
    changed = agent.created if agent.suspension_changed is UNSET else agent.suspension_changed
    return Suspension(changed, agent.suspended is True)


def add_exported(records: AgentRecords, exported: AgentRecords) -> AgentRecords:
    """Add the agents of an export. Raises AgentError if one of them exists and differs."""
    known = {agent.id: agent for agent in records.agents}
    differing = [agent.id for agent in exported.agents if agent.id in known and known[agent.id] != agent]
    if differing:
        raise AgentError(
            f"These agents exist already and differ from those of the file: {', '.join(differing[:20])}. Nothing was "
            "imported. Export from a place where they are as you want them, and import into an empty one."
        )
    return replace(records, agents=(*records.agents, *(agent for agent in exported.agents if agent.id not in known)))


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
    """Add a token to the agent, valid for `lifetime` seconds; None means no expiry."""
    agent = active(records, name)
    if agent.suspended is True:
        raise AgentError(f"The agent {name} is suspended. To resume it: wirekey agents set {name} --no-suspended.")
    expires = None if lifetime is None else now + timedelta(seconds=lifetime)
    issued = replace(new_record(token, label, now, expires), strict=strict or UNSET)
    tokens = (*unexpired(agent.tokens, now), issued)
    return records.with_agent(replace(agent, tokens=tokens))


def drop(records: AgentRecords, name: str, token: str, now: datetime) -> AgentRecords:
    """Remove one token, given as the token or its id, from the agent. Does nothing if it is already gone."""
    agent = records.agent(name)
    dropped = token_id(token) if TOKEN.fullmatch(token) else token
    tokens = tuple(other for other in unexpired(agent.tokens, now) if other.id != dropped)
    return records.with_agent(replace(agent, tokens=tokens))


def active(records: AgentRecords, name: str) -> AgentRecord:
    """Return the agent of a name. Raises AgentError if it does not exist or is revoked."""
    agent = records.agent(name)
    if agent.revoked_at:
        raise AgentError(f"The agent {name} was revoked. To reactivate it: wirekey agents add {name}.")
    return agent


def unexpired[Record: (TokenRecord, ClientRecord)](records: tuple[Record, ...], now: datetime) -> tuple[Record, ...]:
    """Return the records that have not expired at `now`."""
    return tuple(record for record in records if record.expires_at is None or record.expires_at > now)


def new_record(token: str, label: str, now: datetime, expires: datetime | None) -> TokenRecord:
    """Return the record of a new token."""
    return TokenRecord(
        id=token_id(token), hash=token_digest(token).hex(), label=label[:64], created=now, expires_at=expires
    )
