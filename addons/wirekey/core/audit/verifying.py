"""Verifies the hash chain of an audit log against its signed checkpoints. Pure: what is stored is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from wirekey.core.audit.chain import FIRST, LastLink, hash_of
from wirekey.core.audit.checkpoints import decode, problem_of
from wirekey.core.audit.filters import first_id_at
from wirekey.core.audit.reading import shown_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from wirekey.core.audit.chain import ChainSource, LinkedEvent
    from wirekey.core.audit.checkpoints import Checkpoint
    from wirekey.core.audit.event import EventValue

MOST_PROBLEMS = 100
"""Problems that are listed. Further ones are counted."""
LINKS_BETWEEN_REPORTS = 10_000


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """Something that should not be. `id`: of the call, or None if it is not known. `seq`: number of the link."""

    kind: str
    """`edited` (or moved), `removed`, `inserted`, `cut_off`, `checkpoint` or `replaced`"""
    text: str
    id: str | None = None
    seq: int | None = None


@dataclass(slots=True)
class Findings:
    """The result for one or several chains. `problems` is in the order of each chain."""

    links: int = 0
    checkpoints: int = 0
    problems: list[ChainProblem] = field(default_factory=list)
    further: int = 0
    """The number of problems beyond those that are listed."""

    def add(self, kind: str, text: str, id: str | None = None, seq: int | None = None) -> None:  # noqa: A002  # the event's word
        """Add a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(ChainProblem(kind, shown_text(text) or "", shown_text(id), seq))
        else:
            self.further += 1


class ChainVerifier:
    """Verifies one chain.

    `start`: the link before the first that is read. `first_id`: smaller ids need no event. `count_from`: `first_calls`
    counts the calls from this id on. `points`: all checkpoints of this chain, from the database and from files.
    """

    def __init__(
        self,
        findings: Findings,
        *,
        start: LastLink,
        first_id: str,
        count_from: str,
        points: Iterable[Checkpoint],
        keys: Mapping[str, Ed25519PublicKey],
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.findings = findings
        self.first_calls = 0
        """The number of calls whose first link was read and whose event exists."""
        self.open: set[str] = set()
        """The calls with an intent and without an end."""
        self._seq, self._hash = start.seq, start.hash
        self._first_id, self._count_from, self._on_progress = first_id, count_from, on_progress
        self._points: dict[int, str] = {}
        self._good_at = start.seq
        """The number of the last link that a signature covers."""
        for point in sorted(points, key=lambda point: point.seq):
            self._use(point, keys)
        self._reached = max(self._points, default=0)

    def _use(self, point: Checkpoint, keys: Mapping[str, Ed25519PublicKey]) -> None:
        if problem := problem_of(point, keys):
            self.findings.add("checkpoint", f"The checkpoint of {point.time} {problem}.", seq=point.seq)
            return
        other = self._points.setdefault(point.seq, point.hash)
        if other != point.hash:
            text = f"The checkpoint of {point.time} contradicts another checkpoint of the same link."
            self.findings.add("checkpoint", text, seq=point.seq)
        elif point.seq == self._seq and point.hash != self._hash.hex():
            text = f"The chain does not begin where its predecessor ended: see the checkpoint of {point.time}."
            self.findings.add("replaced", text, seq=point.seq)
        else:
            self.findings.checkpoints += 1

    def read(self, events: Iterable[LinkedEvent]) -> None:
        """Verify links in the order of their numbers."""
        for number, found in enumerate(events, 1):
            self._follow(found)
            if number % LINKS_BETWEEN_REPORTS == 0:
                self._on_progress(number)

    def _follow(self, found: LinkedEvent) -> None:
        seq, kind, call_id, stored, values, attempts = found
        self.findings.links += 1
        if seq != self._seq + 1:
            missing = f"link {seq - 1}" if seq == self._seq + 2 else f"links {self._seq + 1} to {seq - 1}"
            self.findings.add("removed", f"Events before this call were removed ({missing}).", call_id, seq)
        elif values is None:
            if call_id >= self._first_id:
                self.findings.add("removed", f"The event of link {seq} was removed.", call_id, seq)
        elif hash_of(self._hash, kind, values, attempts) != stored:
            text = f"The event or its place was changed: its hash differs (link {seq})."
            self.findings.add("edited", text, call_id, seq)
        self._count(kind, call_id, exists=values is not None)
        self._seq, self._hash = seq, stored
        if seq in self._points:
            self._compare(seq, call_id, stored.hex())

    def _count(self, kind: str, call_id: str, *, exists: bool) -> None:
        if kind == "intent":
            self.open.add(call_id)
        elif call_id in self.open:  # also of a final, if the call was abandoned while its intent was written
            self.open.discard(call_id)
            return
        if exists and kind != "outcome" and call_id >= self._count_from:
            self.first_calls += 1

    def _compare(self, seq: int, call_id: str, stored: str) -> None:
        if self._points[seq] != stored:
            text = (
                f"The chain was written again: the signed checkpoint at link {seq} has another hash. An event after "
                f"link {self._good_at} was changed."
            )
            self.findings.add("edited", text, call_id, seq)
        self._good_at = seq

    def finish(self, head: LastLink, outcomes: Mapping[str, EventValue]) -> None:
        """Compare the end with what the database has as its last link, and with the checkpoints.

        `outcomes`: of the calls in `open`.
        """
        longest = max(head.seq, self._reached)
        if self._seq < longest:
            self.findings.add("cut_off", f"The end of the audit log is missing: it had {longest} links.", seq=self._seq)
        elif (self._seq, self._hash) != (head.seq, head.hash):
            self.findings.add("edited", "The last link is not the one that the database names.", seq=self._seq)
        for call_id, outcome in outcomes.items():
            if outcome is not None:
                text = "The call has an outcome without a link."
                self.findings.add("edited", text, call_id)


def verify(
    findings: Findings,
    source: ChainSource,
    files: Iterable[Checkpoint],
    keys: Mapping[str, Ed25519PublicKey],
    *,
    since: str | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Verify one chain from its beginning, or from the last checkpoint before `since` (RFC 3339).

    `findings` gets the result. `files`: checkpoints from outside of the database.
    """
    points = stored_points(findings, source)
    known = set(points)
    for point in files:
        if point.chain == source.chain and point not in known:
            known.add(point)
            points.append(point)
            findings.add("removed", f"The checkpoint of {point.time} was removed from the database.", seq=point.seq)
    start, first_id, before = start_of([point for point in points if problem_of(point, keys) is None], since)
    count_from = first_id if since is None else max(first_id, first_id_at(datetime.fromisoformat(since).timestamp()))
    verifier = ChainVerifier(
        findings,
        start=start,
        first_id=first_id,
        count_from=count_from,
        points=points,
        keys=keys,
        on_progress=on_progress,
    )
    verifier.read(source.linked(start.seq))
    verifier.finish(source.head(), source.outcomes(verifier.open))
    if source.count(count_from) > verifier.first_calls:
        for call_id in source.unlinked(count_from):
            findings.add("inserted", "The event has no link: it was inserted.", call_id)
    if before is not None and since is None and first_id and source.count("", first_id) > before:
        findings.add("inserted", f"There are more than the {before} events from before the chain.")


def stored_points(findings: Findings, source: ChainSource) -> list[Checkpoint]:
    """Return the checkpoints of this chain in the database. Each chain begins with one."""
    points: list[Checkpoint] = []
    for seq, document in source.checkpoints():
        try:
            point = decode(document)
        except ValueError:
            findings.add("checkpoint", "A checkpoint in the database cannot be read: it was changed or inserted.")
            continue
        if (point.chain, point.seq) == (source.chain, seq):
            points.append(point)
        else:
            findings.add("checkpoint", f"The checkpoint of {point.time} belongs to another chain or link.", seq=seq)
    if not any(point.reason in ("begin", "prune") for point in points):
        findings.add("checkpoint", "The checkpoint of the beginning of the chain was removed.")
    return points


def start_of(points: Iterable[Checkpoint], since: str | None) -> tuple[LastLink, str, int | None]:
    """Return where to begin: the last link before it, the smallest id that needs an event, and `before` of `begin`.

    `points`: verified checkpoints of one chain. `since`: RFC 3339; begin at the last checkpoint before it.
    """
    start, first_id, before = LastLink(0, FIRST), "", None
    for point in sorted(points, key=lambda point: (point.time, point.seq)):
        if point.reason == "begin":
            before = point.before
        if point.reason in ("begin", "prune"):
            first_id = max(first_id, point.first_id or "")
        if point.reason == "prune" or (since is not None and point.time < since):
            start = LastLink(point.seq, bytes.fromhex(point.hash))
            if point.reason == "prune":
                before = None  # the older calls that are left were open
    return start, first_id, before
