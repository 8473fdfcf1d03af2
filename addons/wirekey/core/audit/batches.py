"""Batches of rows, which the event loop hands over to the writer's thread."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.audit.rows import Rows

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


@dataclass(slots=True)
class Batch(Rows):
    """The rows of one turn of the loop, and the futures of the calls that wait for them."""

    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    """One for each intent."""
    waiting_next: list[asyncio.Future[None]] = field(default_factory=list)
    """One for each of `next_attempts`."""
    deadline: asyncio.TimerHandle | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether calls wait for it."""
        return bool(self.waiting or self.waiting_next)

    def resolve(self, refusal: str | None) -> None:
        """End the waiting of the calls: they are recorded, or refused with this reason. On the event loop."""
        if self.deadline:
            self.deadline.cancel()
        for recorded in (*self.waiting, *self.waiting_next):
            if recorded.done():
                continue
            if refusal is None:
                recorded.set_result(None)
            else:
                recorded.set_exception(AuditUnavailable(refusal))


def resolve(batches: Iterable[Batch], refusal: str | None) -> None:
    """Resolve all of these batches."""
    for batch in batches:
        batch.resolve(refusal)


class Handover:
    """The batches on their way to the writer."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.put = self._queue.put
        """Hands a batch over, or None after the last one."""
        self.qsize = self._queue.qsize

    def take(self, patience: float | None) -> tuple[list[Batch], bool]:
        """Wait for a batch and return all that are there; True with the last one."""
        batches: list[Batch] = []
        try:
            batch = self._queue.get(timeout=patience)
            while batch is not None:
                batches.append(batch)
                batch = self._queue.get_nowait()
        except queue.Empty:
            return batches, False
        return batches, True


def join(batches: Iterable[Batch], unwritten: Rows) -> None:
    """Add the rows of batches to those that are written next.

    Intents whose calls no longer wait are left out: such calls are not sent, so they are not recorded.
    """
    unwritten.trial = False
    for batch in batches:
        unwritten.intents += still_wanted(batch.intents, batch.waiting)
        unwritten.next_attempts += still_wanted(batch.next_attempts, batch.waiting_next)
        unwritten.outcomes += batch.outcomes
        unwritten.finals += batch.finals
        unwritten.attempts += batch.attempts
        unwritten.trial |= batch.trial


def still_wanted[Item](items: list[Item], waiting: list[asyncio.Future[None]]) -> list[Item]:
    """Return the entries whose calls still wait."""
    return [item for item, recorded in zip(items, waiting, strict=True) if not recorded.done()]
