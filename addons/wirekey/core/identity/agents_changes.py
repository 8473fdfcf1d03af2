"""Each change to the stored agents, as a function of the records before it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from wirekey.core.command_name import COMMAND
from wirekey.core.identity import aws_pairs, clients
from wirekey.core.identity.agents_format import (
    AgentError,
    AgentRecord,
    AgentRecords,
    Suspension,
    TokenRecord,
    changed_labels,
    check_name,
    checked_attributes,
    last_suspension,
)
from wirekey.core.identity.clients import ClientCredentials, ClientRecord
from wirekey.core.identity.tokens import TOKEN, token_digest, token_id
from wirekey.core.labels import NO_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

RENEWED_LATE = timedelta(days=7)
"""How long an expired token may still be renewed: a computer that slept could not do so before."""


def add(
    records: AgentRecords,
    name: str,
    token: str | ClientCredentials,
    now: datetime,
    *,
    role: str | None,
    type_: str | None,
    permitted: tuple[str, ...] | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> AgentRecords:
    """Add an agent with a token or client credentials, or reactivate a revoked one. Raises AgentError."""
    check_name(name)
    permitted = checked_attributes(role, type_, permitted)
    for other in records.agents:
        if other.id == name and other.revoked_at is None:
            raise AgentError(f"The agent {name} already exists. For a new token: {COMMAND} agents rotate {name}.")
    agent = AgentRecord(id=name, role=role, type=type_, created=now, permissions=permitted)
    agent = replace(agent, labels=changed_labels(agent, labels))
    if isinstance(token, ClientCredentials):
        return records.with_agent(replace(agent, clients=(clients.new_record(token, now),)))
    return records.with_agent(replace(agent, tokens=(new_record(token, "main", now, None),)))


def change(
    records: AgentRecords,
    name: str,
    now: datetime,
    *,
    role: str | None = None,
    type_: str | None = None,
    permitted: tuple[str, ...] | None = None,
    suspended: bool | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> AgentRecords:
    """Change attributes of an agent. None keeps a value, an empty one resets it. Raises AgentError.

    `labels`: those to set, or to remove if the value is empty.
    """
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
            labels=changed_labels(agent, labels),
        )
    )


def ensure(records: AgentRecords, name: str, now: datetime) -> AgentRecords:
    """Add an agent without a token, unless an agent of that name exists."""
    check_name(name)
    if any(agent.id == name for agent in records.agents):
        return records
    return records.with_agent(AgentRecord(id=name, created=now))


def rotate(records: AgentRecords, name: str, token: str, now: datetime, overlap: float) -> AgentRecords:
    """Add a new token to the agent. Its other tokens expire after `overlap` seconds; 0 means immediately.

    Until then, tokens of running programs are renewed.
    """
    agent = active(records, name)
    end = now + timedelta(seconds=overlap)
    previous = tuple(
        replace(old, renewable_until=min(old.renewable_until, end)) if old.renewable_until is not UNSET else old
        for old in expiring(agent.tokens, now, overlap)
    )
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
    renewable: float | None = None,
    run: str | None = None,
) -> AgentRecords:
    """Add a token to the agent, valid for `lifetime` seconds; None means no expiry.

    `renewable`: for how many seconds it may be renewed. `run`: the name of the run that it identifies.
    """
    agent = active(records, name)
    if agent.suspended is True:
        raise AgentError(f"The agent {name} is suspended. To resume it: {COMMAND} agents set {name} --no-suspended.")
    expires = None if lifetime is None else now + timedelta(seconds=lifetime)
    until = UNSET if renewable is None else now + timedelta(seconds=renewable)
    issued = new_record(token, label, now, expires)
    issued = replace(issued, strict=strict or UNSET, renewable_until=until, run=run or UNSET)
    tokens = (*unforgotten(agent.tokens, now), issued)
    return records.with_agent(replace(agent, tokens=tokens))


def renew(records: AgentRecords, name: str, token: str, now: datetime, lifetime: float) -> AgentRecords:
    """Make a renewable token valid for `lifetime` seconds from now. Raises AgentError if it was revoked or rotated."""
    agent, renewed = active(records, name), token_id(token)
    old = next((other for other in unforgotten(agent.tokens, now) if other.id == renewed), None)
    if old is None or old.renewable_until is UNSET or old.renewable_until <= now:
        raise AgentError(f"This token of {name} is no longer renewed: it was revoked, or replaced by another.")
    latest = replace(old, expires_at=min(now + timedelta(seconds=lifetime), old.renewable_until))
    tokens = tuple(latest if other is old else other for other in agent.tokens)
    return records.with_agent(replace(agent, tokens=tokens))


def drop(records: AgentRecords, name: str, token: str, now: datetime) -> AgentRecords:
    """Remove one token, given as the token or its id, from the agent. Does nothing if it is already gone."""
    agent = records.agent(name)
    dropped = token_id(token) if TOKEN.fullmatch(token) else token
    tokens = tuple(other for other in unforgotten(agent.tokens, now) if other.id != dropped)
    return records.with_agent(replace(agent, tokens=tokens))


def active(records: AgentRecords, name: str) -> AgentRecord:
    """Return the agent of a name. Raises AgentError if it does not exist or is revoked."""
    agent = records.agent(name)
    if agent.revoked_at:
        raise AgentError(f"The agent {name} was revoked. To reactivate it: {COMMAND} agents add {name}.")
    return agent


def unexpired[Record: (TokenRecord, ClientRecord)](records: tuple[Record, ...], now: datetime) -> tuple[Record, ...]:
    """Return the records that have not expired at `now`."""
    return tuple(record for record in records if record.expires_at is None or record.expires_at > now)


def unforgotten(tokens: tuple[TokenRecord, ...], now: datetime) -> tuple[TokenRecord, ...]:
    """Return the tokens that are valid at `now`, and those that may be renewed although they have expired."""
    return tuple(
        token
        for token in tokens
        if token.expires_at is None
        or token.expires_at > now
        or (token.renewable_until is not UNSET and min(token.renewable_until, token.expires_at + RENEWED_LATE) > now)
    )


def new_record(token: str, label: str, now: datetime, expires: datetime | None) -> TokenRecord:
    """Return the record of a new token."""
    return TokenRecord(
        id=token_id(token), hash=token_digest(token).hex(), label=label[:64], created=now, expires_at=expires
    )
