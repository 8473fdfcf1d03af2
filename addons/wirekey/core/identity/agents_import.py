"""Adds agents with credentials that exist already to the records: all of a file, or none. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from wirekey.core.command_name import COMMAND
from wirekey.core.identity.agents_format import AgentRecord, TokenRecord, checked_attributes
from wirekey.core.identity.clients import ClientRecord
from wirekey.core.identity.import_file import ImportRefusedError
from wirekey.core.identity.imported_credentials import STRONG_BITS, entropy_bits, imported_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from wirekey.core.identity.agents_format import AgentRecords
    from wirekey.core.identity.import_file import AgentEntry
    from wirekey.core.labels import LabelPairs

LABEL = "imported"


@dataclass(slots=True)
class ImportReport:
    """The result of an import: names of agents, and warnings about secrets with little entropy."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class AgentImport:
    """An import in progress: the records by agent, and the owner of each token and client."""

    def __init__(self, records: AgentRecords, keys: Sequence[bytes], now: datetime) -> None:
        """Begin with the records. `keys`: of the hashes, that of new ones first."""
        self.key, self.previous = keys[0], keys[1:]
        self.now = now
        self.agents = {agent.id: agent for agent in records.agents}
        self.token_owners = {token.hash: agent.id for agent in records.agents for token in agent.tokens}
        self.clients = {client.id: (agent.id, client.hash) for agent in records.agents for client in agent.clients}

    def add(self, entry: AgentEntry) -> Iterator[str]:
        """Add one row. Yield what it says other than the records."""
        name, agent = entry.agent, self.agents.get(entry.agent)
        if agent is not None:
            yield from attribute_differences(agent, entry)
        else:
            agent = new_agent(entry, self.now)
        for token in entry.tokens:
            digest = imported_digest(self.key, token).hex()
            owners = [self.token_owners.get(imported_digest(key, token).hex(), name) for key in self.previous]
            owners.append(self.token_owners.setdefault(digest, name))
            if owner := next((owner for owner in owners if owner != name), None):
                yield f"{entry.place}: token: already belongs to the agent {owner}."
            elif all(held.hash != digest for held in agent.tokens):
                agent = replace(agent, tokens=(*agent.tokens, self.token_record(token, digest)))
        if entry.client_id is not None and entry.client_secret is not None:
            digest = imported_digest(self.key, entry.client_secret).hex()
            known = self.clients.setdefault(entry.client_id, (name, digest))
            if known[0] != name:
                yield f"{entry.place}: client_id: already belongs to the agent {known[0]}."
            elif known[1] in [imported_digest(key, entry.client_secret).hex() for key in self.previous]:
                clients = (
                    replace(client, hash=digest) if client.id == entry.client_id else client for client in agent.clients
                )
                agent = replace(agent, clients=tuple(clients))
            elif known[1] != digest:
                yield f"{entry.place}: client_secret: is not the one that Wirekey has for this client_id."
            elif all(client.id != entry.client_id for client in agent.clients):
                record = self.client_record(entry.client_id, entry.client_secret, digest)
                agent = replace(agent, clients=(*agent.clients, record))
        self.agents[name] = agent

    def token_record(self, token: str, digest: str) -> TokenRecord:
        """Return the record of an imported token. Its id is the beginning of its keyed hash."""
        return TokenRecord(
            id=digest[:12],
            hash=digest,
            label=LABEL,
            created=self.now,
            imported=True,
            guessable=is_guessable(token) or UNSET,
        )

    def client_record(self, client_id: str, secret: str, digest: str) -> ClientRecord:
        """Return the record of an imported client."""
        return ClientRecord(
            id=client_id, hash=digest, created=self.now, imported=True, guessable=is_guessable(secret) or UNSET
        )


def import_agents(
    records: AgentRecords, entries: Sequence[AgentEntry], keys: Sequence[bytes], now: datetime
) -> tuple[AgentRecords, ImportReport]:
    """Return the records with the agents of a file. `keys`: of the hashes, that of new ones first.

    An agent that exists gets the credentials that it lacks, also those whose hash has a previous key. Its attributes
    must be those of the file. Raises ImportRefusedError with each difference; then nothing changes.
    """
    before = {agent.id: agent for agent in records.agents}
    importing, report = AgentImport(records, keys, now), ImportReport()
    problems = [problem for entry in entries for problem in importing.add(entry)]
    if problems:
        raise ImportRefusedError(problems)
    for name in dict.fromkeys(entry.agent for entry in entries):
        if name not in before:
            report.added.append(name)
        elif before[name] != importing.agents[name]:
            report.changed.append(name)
        else:
            report.unchanged.append(name)
    report.warnings = [warning for entry in entries for warning in weak_secrets(entry)]
    return replace(records, agents=tuple(importing.agents.values())), report


def new_agent(entry: AgentEntry, now: datetime) -> AgentRecord:
    """Return the record of an agent without its credentials."""
    permitted = checked_attributes(entry.role, entry.type, entry.permissions)
    return AgentRecord(
        id=entry.agent,
        role=entry.role,
        type=entry.type,
        created=now,
        permissions=permitted,
        suspended=entry.suspended or UNSET,
        labels=dict(entry.labels) if entry.labels else UNSET,
    )


def attribute_differences(agent: AgentRecord, entry: AgentEntry) -> Iterator[str]:
    """Yield the attributes of a row that are not those of the agent."""
    place, name = entry.place, entry.agent
    if agent.revoked_at is not None:
        yield f"{place}: agent: {name} was revoked. To reactivate it: {COMMAND} agents add {name}."
        return
    permitted = checked_attributes(None, None, entry.permissions)
    suspended = agent.suspended is True
    for label, wanted, found in (
        ("role", entry.role, agent.role),
        ("type", entry.type, agent.type),
        ("permissions", permitted, agent.permissions),
        ("suspended", entry.suspended, suspended),
        ("labels", written(entry.labels), written({} if agent.labels is UNSET else agent.labels)),
    ):
        if wanted is not None and wanted != found:
            yield (
                f"{place}: {label}: is {text_of(wanted)} here, and {text_of(found)} in Wirekey. To change it: wirekey "
                f"agents set {name}."
            )


def written(labels: LabelPairs | Mapping[str, str] | None) -> tuple[str, ...] | None:
    """Return labels as they are written in a file: NAME=VALUE, sorted. None: the file says nothing about them."""
    return None if labels is None else tuple(f"{name}={value}" for name, value in sorted(dict(labels).items()))


def text_of(value: object) -> str:
    """Return an attribute for a message."""
    if isinstance(value, tuple):
        return " ".join(value) or "empty"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def is_guessable(secret: str) -> bool:
    """Return whether guesses of a secret must be slowed down."""
    return entropy_bits(secret) < STRONG_BITS


def weak_secrets(entry: AgentEntry) -> Iterator[str]:
    """Yield a warning for each secret of a row with little entropy."""
    named = [("token", token) for token in entry.tokens]
    named += [("client_secret", entry.client_secret)] if entry.client_secret is not None else []
    for name, secret in named:
        if is_guessable(secret):
            yield (
                f"{entry.place}: {name}: has about {entropy_bits(secret)} bits of entropy. Below {STRONG_BITS} it "
                "might be guessed, so Wirekey slows down addresses that present wrong tokens."
            )
