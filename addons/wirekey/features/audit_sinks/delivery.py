"""Delivers the events of the audit log to one sink, from the place that was delivered last, in a thread.

An event is delivered at least once: the place is stored after the sink has accepted a batch. After a crash in between,
the batch is delivered again.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.following import EndedCalls, ended_after, heads
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.audit_sinks.sink import RejectedEventsError, SinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.audit.audit_log import AuditDatabase, AuditReader
    from wirekey.core.audit.delivery_state import DeliveryDocument, DeliveryState
    from wirekey.core.audit.event import AuditEvent
    from wirekey.features.audit_sinks.sink import Sink

logger = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks for calls that have ended."""
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each further attempt; the last one again and again."""
CHECK_AFTER = 30.0
"""Seconds without events after which a sink is checked, so that its failure is known before the next call."""
MOST_WAITING = 20_000
"""Links of the audit log, two for most calls, that may wait for a sink which counts as accepting events."""
PATIENCE = 20.0
"""Seconds after which a delivery that has not ended, or an audit log that cannot be used, counts as a failure."""
UNUSABLE = "events cannot be read from the audit log"


@dataclass(slots=True)
class SinkState:
    """The condition of a sink. The thread of the delivery writes it, others read it."""

    accepts: bool = False
    """Whether the last delivery or check succeeded."""
    failure: str | None = None
    """Why it failed."""
    delivered: int = 0
    failures: int = 0
    missing: int = 0
    """Events that it does not get: deleted from the audit log before they were delivered, or rejected for good."""
    waiting: int = 0
    """Links of the audit log behind the place that was delivered."""
    busy_since: float | None = None

    def takes_events(self, now: float) -> bool:
        """Return whether the sink accepts events, and fast enough. `now`: of the monotonic clock."""
        hangs = self.busy_since is not None and now - self.busy_since > PATIENCE
        return self.accepts and not hangs and self.waiting <= MOST_WAITING


@dataclass(slots=True)
class EventBatch:
    """The events that are delivered together, and the place of each writer behind them."""

    events: list[AuditEvent] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    missing: int = 0
    rejected: int = 0


class Delivery:
    """The delivery to one sink. `name`: that of the sink. `changed` is called after the state has changed."""

    def __init__(
        self, name: str, sink: Sink, database: AuditDatabase, kept: DeliveryState, changed: Callable[[], None]
    ) -> None:
        self.name, self.sink = name, sink
        self.state = SinkState()
        self._database, self._kept, self._changed = database, kept, changed
        self._places: dict[int, int] = {}
        """Writer → the number of the last link of its chain that was delivered."""
        self._claim = 0
        """The claim under which `_places` was read."""
        self._stopping = threading.Event()
        self._ends_at = float("inf")
        self._thread: threading.Thread | None = None
        self._failed = 0
        self._checked_at = float("-inf")
        self._waits_since: float | None = None
        self._unusable_since: float | None = None
        """When the audit log, or the place that is kept, could not be used for the first time."""
        self._trouble: str | None = None

    # Other threads.

    def start(self) -> None:
        """Start, once. The place is stored by then."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"wirekey-sink-{self.name}", daemon=True)
            self._thread.start()

    def stop(self, patience: float) -> None:
        """Deliver what waits, within `patience` seconds, and begin to end."""
        self._ends_at = time.monotonic() + patience
        self._stopping.set()

    def join(self) -> bool:
        """Wait until the thread has ended, at most until the time of `stop`. Return whether it has."""
        if self._thread:
            self._thread.join(max(0.0, self._ends_at - time.monotonic()))
        return not (self._thread and self._thread.is_alive())

    # Its own thread.

    def _run(self) -> None:
        while True:
            is_last = self._stopping.is_set()
            try:
                if self._has_claim():
                    with self._database.reading() as reader:
                        self._follow(reader)
                is_last = is_last or self._stopping.is_set()
                self._failed = 0
                self._unusable_since = None
            except SinkError as error:
                self._fail(str(error))
            except AuditDatabaseError as error:
                self._pause(str(error))
            except Exception as error:  # a sink must not end because of one event
                self._fail(f"an internal error ({safe_traceback(error)})")
            if is_last or time.monotonic() > self._ends_at:
                break
            self._stopping.wait(PAUSES[min(self._failed, len(PAUSES)) - 1] if self._failed else LOOK)
        self.sink.close()

    def _has_claim(self) -> bool:
        """Return whether this process delivers. Raises AuditDatabaseError."""
        claim = self._kept.claim()
        if claim and claim != self._claim:  # another process may have delivered in between
            if (stored := self._kept.read().get(self.name)) is None:
                raise AuditDatabaseError("the place up to which events were delivered is not known yet")
            self._places = places_of(stored)
        self._claim = claim
        return bool(claim)

    def _follow(self, reader: AuditReader) -> None:
        """Deliver until Wirekey stops, or another process delivers. Raises SinkError, AuditDatabaseError."""
        while True:
            is_last = self._stopping.is_set()
            while self._step(reader, ends=is_last) and time.monotonic() < self._ends_at:
                pass
            if is_last:
                return
            self._stopping.wait(LOOK)

    def _step(self, reader: AuditReader, *, ends: bool) -> bool:
        """Deliver one batch, if there is one. Return whether there may be more.

        Raises SinkError, AuditDatabaseError.
        """
        batch = self._next_batch(reader, ends=ends)
        if not batch.places:
            if not ends and time.monotonic() - self._checked_at > CHECK_AFTER:
                self._attempt(self.sink.check)
            self._unusable_since = None
            return False
        if self._kept.claim() != self._claim:
            raise AuditDatabaseError("another process may deliver")
        if batch.events:
            self._attempt(lambda: self._send(batch))
        self._advance(batch)
        self._unusable_since = None
        return True

    def _send(self, batch: EventBatch) -> None:
        try:
            self.sink.send(batch.events)
        except RejectedEventsError as error:
            batch.rejected = error.count

    def _next_batch(self, reader: AuditReader, *, ends: bool) -> EventBatch:
        """Return the next events. The batch is empty while events wait until there are more."""
        batch = EventBatch()
        reader.execute("BEGIN")
        latest = heads(reader)
        self.state.waiting = sum(max(0, seq - self._places.get(writer, 0)) for writer, seq in latest.items())
        if ends or not self._waits_for_more(self.state.waiting):
            for writer, seq in latest.items():
                self._read_chain(reader, writer, seq, batch)
        reader.execute("COMMIT")
        return batch

    def _read_chain(self, reader: AuditReader, writer: int, last: int, batch: EventBatch) -> None:
        """Add the next events of one writer to a batch. `last`: the number of the last link of its chain."""
        place = self._places.get(writer, 0)
        while place < last and (room := self.sink.most - len(batch.events)) > 0:
            found = ended_after(reader, writer, place, room)
            if found.place == place:  # the rest of the chain was deleted
                found = EndedCalls([], last, last - place)
            place = batch.places[writer] = found.place
            batch.events += found.events
            batch.missing += found.missing

    def _waits_for_more(self, waiting: int) -> bool:
        """Return whether events wait until there are more."""
        if not waiting or not self.sink.linger:
            return False
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        return waiting < self.sink.most and now - self._waits_since < self.sink.linger

    def _attempt(self, step: Callable[[], None]) -> None:
        """Run a step of the sink, and note that it accepts events. Raises SinkError."""
        self.state.busy_since = time.monotonic()
        try:
            step()
        finally:
            self.state.busy_since = None
        self._checked_at = time.monotonic()
        self._failed = 0
        if self.state.failure:
            logger.warning("The audit sink %s (%s) accepts events again.", self.name, self.sink.place)
        if not self.state.accepts or self.state.failure:
            self.state.accepts, self.state.failure = True, None
            self._changed()

    def _advance(self, batch: EventBatch) -> None:
        self._places |= batch.places
        self.state.delivered += len(batch.events) - batch.rejected
        if batch.rejected:
            self.state.missing += batch.rejected
            logger.warning("The audit sink %s rejects %d events for good.", self.name, batch.rejected)
        self._waits_since = None
        if not batch.events and not batch.missing:
            return  # only starts of calls
        if batch.missing:
            self.state.missing += batch.missing
            logger.warning(
                "The audit sink %s misses up to %d events that were deleted from the audit log too early.",
                self.name,
                batch.missing,
            )
        self._kept.write(self.name, document_of(self._places))
        self._trouble = None

    def _pause(self, reason: str) -> None:
        """Note that the audit log, or the place that is kept, cannot be used. For long, that is a failure."""
        self._failed += 1
        if reason != self._trouble:
            logger.warning("Events cannot be delivered to the audit sink %s: %s", self.name, reason)
        self._trouble = reason
        now = time.monotonic()
        self._unusable_since = self._unusable_since or now
        if now - self._unusable_since > PATIENCE:
            self.state.accepts, self.state.failure = False, UNUSABLE
            self._checked_at = float("-inf")
            self._changed()

    def _fail(self, reason: str) -> None:
        self._failed += 1
        self.state.failures += 1
        self.state.accepts = False
        if self.state.failure != reason:
            logger.warning("The audit sink %s (%s) does not accept events: %s.", self.name, self.sink.place, reason)
        self.state.failure = reason
        self._changed()


def document_of(places: dict[int, int]) -> DeliveryDocument:
    """Return what is kept of a sink."""
    return {"places": {str(writer): seq for writer, seq in places.items()}}


def places_of(document: DeliveryDocument) -> dict[int, int]:
    """Return the places that are kept of a sink. Raises AuditDatabaseError."""
    try:
        return {int(writer): int(seq) for writer, seq in document["places"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AuditDatabaseError("the place up to which events were delivered is damaged") from None
