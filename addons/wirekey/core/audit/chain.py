"""The hash chain of the audit log, which shows whether a stored event was changed, removed or inserted. Pure.

The chain has a link for each step of a call, in the order in which the steps were stored:

- `intent`: the request fields, which never change after the intent. If somebody removes the record of a call that was
  cut off, its link remains.
- `outcome`: the sent model, the outcome fields and all attempts of a call with an intent.
- `final`: all fields of a call that ended without an intent, such as a denied one.

The hash of a link is SHA-256 of the hash before it, the kind of the link and the event as JSON: the fields that are not
null by name, in the order of the event. New fields therefore do not change the hashes of older events.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_not
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES, OUTCOME_NAMES, REQUEST_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wirekey.core.audit.event import EventValue
    from wirekey.core.audit.rows import AuditRow, Rows

FIRST = bytes(32)
"""The hash before the first link."""
MODEL = NAMES.index("model")
INTENT_NAMES = tuple(name for name in REQUEST_NAMES if name != "model")
END_NAMES = ("id", "model", *OUTCOME_NAMES)
LINKED_NAMES = {"intent": INTENT_NAMES, "outcome": END_NAMES, "final": NAMES}
"""Kind of a link → the fields that it covers."""
ATTEMPT_PARTS = ATTEMPT_NAMES[1:]
encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class LastLink:
    """The last link of a chain: its number and its hash. Number 0: the chain has no link yet."""

    seq: int = 0
    hash: bytes = FIRST


class Link(NamedTuple):
    """One link. `seq`: 1 for the first of a chain. `kind`: intent, outcome or final. `id`: of the call."""

    seq: int
    kind: str
    id: str
    hash: bytes


class LinkedEvent(NamedTuple):
    """A link with what is stored under its id: the values of `LINKED_NAMES`, or None if there is no such event."""

    seq: int
    kind: str
    id: str
    hash: bytes
    values: Sequence[EventValue] | None
    attempts: Sequence[AuditRow] = ()


class ChainSource(Protocol):
    """The stored content of one chain, as it was at one moment."""

    chain: str

    def head(self) -> LastLink:
        """Return the last link that the database names."""

    def checkpoints(self) -> list[tuple[int, str]]:
        """Return the checkpoints in the database: the number of the link under which each is stored, and its JSON."""

    def linked(self, after: int) -> Iterable[LinkedEvent]:
        """Yield the links with a number above `after`, in order."""

    def outcomes(self, ids: Iterable[str]) -> Mapping[str, EventValue]:
        """Return the outcomes of these calls."""

    def count(self, first: str, end: str | None = None) -> int:
        """Return the number of calls with ids from `first` until before `end`."""

    def unlinked(self, first: str) -> list[str]:
        """Return the first calls from this id on that have no link."""


def links_of(rows: Rows, head: LastLink) -> tuple[list[Link], LastLink]:
    """Return the links of the rows of one transaction, and the new last link."""
    links: list[Link] = []
    seq, last = head.seq, head.hash
    for row in rows.intents:
        seq += 1
        last = next_hash(last, "intent", of_names(INTENT_NAMES, (*row[:MODEL], *row[MODEL + 1 : len(REQUEST_NAMES)])))
        links.append(Link(seq, "intent", str(row[0]), last))
    attempts = attempts_by_call(rows.attempts) if rows.attempts else {}
    for row in rows.outcomes:
        seq += 1
        call_id = str(row[-1])
        content = of_names(END_NAMES, (call_id, *row[:-1]))
        last = next_hash(last, "outcome", with_attempts(content, attempts.get(call_id, ())))
        links.append(Link(seq, "outcome", call_id, last))
    for row in rows.finals:
        seq += 1
        last = next_hash(last, "final", of_names(NAMES, row))
        links.append(Link(seq, "final", str(row[0]), last))
    return links, LastLink(seq, last)


def hash_of(previous: bytes, kind: str, values: Sequence[EventValue], attempts: Sequence[AuditRow]) -> bytes:
    """Return the hash that a link must have. `values`: those of `LINKED_NAMES[kind]`.

    `attempts`: rows of `ATTEMPT_NAMES`, in order; only an outcome has them.
    """
    return next_hash(previous, kind, with_attempts(of_names(LINKED_NAMES[kind], values), attempts))


def next_hash(previous: bytes, kind: str, content: Mapping[str, Any]) -> bytes:
    """Return the hash of a link."""
    return hashlib.sha256(b"".join((previous, kind.encode(), b" ", encode(content)))).digest()


def of_names(names: Iterable[str], values: Sequence[EventValue]) -> dict[str, Any]:
    """Return the values that are not None, by name."""
    fields = zip(names, values, strict=True)
    return dict(compress(fields, map(is_not, values, repeat(None))))


def with_attempts(content: dict[str, Any], attempts: Sequence[AuditRow]) -> dict[str, Any]:
    """Return an outcome with the attempts of its call, if it had several."""
    if attempts:
        content["each_attempt"] = [of_names(ATTEMPT_PARTS, row[1:]) for row in attempts]
    return content


def attempts_by_call(rows: Iterable[AuditRow]) -> dict[str, list[AuditRow]]:
    """Return rows of attempts by the id of their call."""
    found: dict[str, list[AuditRow]] = {}
    for row in rows:
        found.setdefault(str(row[0]), []).append(row)
    return found
