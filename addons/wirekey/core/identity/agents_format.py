"""The stored form of agents and their tokens (`agents.json`). Pure."""

from __future__ import annotations

import difflib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from wirekey.core import labels, permissions
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.core.identity import aws_pairs, clients
from wirekey.core.identity.clients import ClientRecord  # noqa: TC001  # msgspec reads it at runtime
from wirekey.core.identity.runs import RunRecord  # noqa: TC001  # msgspec reads it at runtime
from wirekey.core.identity.tokens import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
LABEL = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)

Time = Annotated[datetime, Meta(tz=True)]
StoredLabels = Annotated[
    dict[
        Annotated[str, Meta(pattern=rf"^{labels.NAME_PATTERN}\Z")],
        Annotated[str, Meta(pattern=rf"^{labels.VALUE_PATTERN}\Z")],
    ],
    Meta(max_length=labels.MOST),
]


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
    renewable_until: Time | UnsetType = UNSET
    """Until when `exec`, which it was issued to, may move `expires_at` while its program runs. Unset: never."""
    imported: bool | UnsetType = UNSET
    """Whether the operator imported it, so that its hash is keyed. Unset: no."""
    guessable: bool | UnsetType = UNSET
    """Whether it has less than 128 bits of entropy. Unset: no."""
    run: str | UnsetType = UNSET
    """The name of the run that it identifies. Unset: none."""


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
    labels: StoredLabels | UnsetType = UNSET
    """Its labels by name. Unset: none."""
    runs: tuple[RunRecord, ...] = ()
    """Its runs, those that started last at the end, and some that have ended."""

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
        hint = f"Did you mean {near[0]}?" if near else f"See: {COMMAND} agents list."
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
    runs = [run.name for agent in records.agents for run in agent.runs]
    if len(set(runs)) != len(runs):
        raise AgentRecordsError("has two runs of the same name")
    client_ids = [client.id for agent in records.agents for client in agent.clients]
    if len(set(client_ids)) != len(client_ids):
        raise AgentRecordsError("has the same client twice")
    made_here = (client.id for agent in records.agents for client in agent.clients if client.imported is not True)
    if not all(map(clients.CLIENT_ID.fullmatch, made_here)):
        raise AgentRecordsError("has a client with an id that Wirekey does not make")
    return records


def exported(content: bytes) -> AgentRecords | None:
    """Return the agents of a file that `agents export` has written, or None if it is a different file.

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


def changed_labels(agent: AgentRecord, changes: Mapping[str, str]) -> dict[str, str] | UnsetType:
    """Return the labels of an agent with these changes; an empty value removes a label. Raises AgentError."""
    kept = {} if agent.labels is UNSET else agent.labels
    found = {name: value for name, value in {**kept, **changes}.items() if value}
    try:
        return dict(labels.checked_pairs(found)) or UNSET
    except ValueError as error:
        raise AgentError(str(error)) from error


def check_name(name: str) -> None:
    """Raise AgentError if a name is not valid for an agent."""
    if not NAME.fullmatch(name):
        raise AgentError(f"{name[:80]!r} is not a valid agent name. Use 1 to 64 letters, digits, '.', '_' and '-'.")
    if TOKEN.search(name):
        raise AgentError("This agent name has a token, and names are recorded. Give a name, such as alice.")


def last_suspension(agent: AgentRecord) -> Suspension:
    """Return whether an agent is suspended, and since when. One that never was is not, since it was added."""
    changed = agent.created if agent.suspension_changed is UNSET else agent.suspension_changed
    return Suspension(changed, agent.suspended is True)
