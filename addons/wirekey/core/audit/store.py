"""The audit store: sends rows from the event loop to one writer thread, which commits everything that has gathered.

The loop gathers the rows of one turn into a batch and hands it over at once. The writer joins all waiting batches into
one transaction and reports back once. So all calls of a moment share the cost of a commit and of waking both sides.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import INTERRUPTED, AuditDatabaseError, AuditUnavailable
from wirekey.core.audit.batches import Batch, Handover, join, resolve
from wirekey.core.audit.event import attempt_values, next_attempt_values, outcome_values, request_values, safe
from wirekey.core.audit.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.audit.rows import AuditRow
    from wirekey.core.call import Call

logger = logging.getLogger(__name__)

MOST_FINALS = 500
"""Finals that are written in one transaction."""
MAX_QUEUE = 20_000
"""Rows that may wait for the writer, about 20 MB. Beyond this, new calls are refused and outcomes are lost."""
SOON = 0.02
"""Seconds to wait for new rows before the spool continues."""
LINGER = 0.05
"""Seconds that an outcome waits for an intent to be written with."""
RETRY = 0.5
"""Seconds after which writing failed outcomes is retried."""
CLOSE_PATIENCE = 10.0
SECONDS_BETWEEN_COMPLAINTS = 10.0

TOO_MANY = "too many calls wait to be recorded"


class AuditStore:
    """The writer of one audit log. `record_…` are called from one event loop.

    `key`: signs checkpoints of the hash chain. `recovered`: the ends of the ids of calls that a process left in
    progress when it died. Other processes that share the file have calls in progress, too. `replica`: the name of this
    process in the events.
    """

    def __init__(
        self,
        database: AuditDatabase,
        *,
        key: CheckpointKey | None = None,
        recovered: tuple[str, ...] = ("",),
        replica: str | None = None,
    ) -> None:
        self.database = database
        self.recovered = recovered
        self.bound = database.bound
        """Seconds within which an intent is recorded or refused."""
        self._key, self._replica = key, replica
        self.lost = 0
        """Outcomes and denials that could not be recorded."""
        self.took: Callable[[float], None] = lambda _: None
        """Called with the seconds that each recorded intent took."""
        self.also_needs: Callable[[], str | None] | None = None
        """Returns why calls are refused although they can be recorded, in words that a client may see, or None."""
        self._gathering = Batch()
        self._handover = Handover()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._soon = False
        self._later: asyncio.TimerHandle | None = None
        self._queued = 0  # counted by the loop
        self._done = 0  # counted by the writer
        self._down: str | None = "the audit store is not open"
        self._failure: str | None = None
        self._complained_at = 0.0
        self._tried_at = 0.0

    def start(self) -> None:
        """Open the audit log and mark calls that a crash cut off as interrupted. Raises AuditDatabaseError."""
        self._file = self.database.open_writer(self._key, alone=self.recovered == ("",))
        try:
            self.recover()
        except AuditDatabaseError:
            self._file.close()
            raise
        if self._file.is_shared:
            self._failure = self._file.trouble
        self._thread = threading.Thread(target=self._run, name="wirekey-audit", daemon=True)
        self._down = None
        self._thread.start()

    def recover(self) -> int:
        """Mark the calls that were in progress when a previous process died as interrupted, and return their number."""
        count = self._file.recover(self.recovered)
        if count:
            logger.warning(INTERRUPTED, count)
        return count

    # On the event loop.

    async def record_intent(self, call: Call) -> None:
        """Return once the row is committed. Raises AuditUnavailable if that fails or takes too long."""
        self._check_room()
        began = time.perf_counter()
        call.replica = self._replica
        row = request_values(call) + outcome_values(call)
        await self._committed(self._gathering.intents, row, self._gathering.waiting)
        self.took(time.perf_counter() - began)

    async def record_next_attempt(self, call: Call) -> None:
        """Return once the rows of the next attempt and of those before it are committed.

        Raises AuditUnavailable as `record_intent` does.
        """
        self._check_room()
        call.attempts_announced = len(call.failed_attempts) + 1
        rows = next_attempt_values(call)
        await self._committed(self._gathering.next_attempts, rows, self._gathering.waiting_next)

    def _check_room(self) -> None:
        if self._down:
            raise AuditUnavailable(self._down)
        if self.waiting >= MAX_QUEUE:
            raise AuditUnavailable(TOO_MANY)
        if self.also_needs and (missing := self.also_needs()):
            raise AuditUnavailable(missing)

    async def _committed[Item](self, items: list[Item], item: Item, waiting: list[asyncio.Future[None]]) -> None:
        loop = self._loop = asyncio.get_running_loop()
        recorded = loop.create_future()
        items.append(item)
        waiting.append(recorded)
        self._queued += 1
        if not self._soon:
            # After everything else that is due now, so that one batch contains all rows.
            self._soon = True
            loop.call_soon(self._hand_over)
        await recorded

    @property
    def waiting(self) -> int:
        """The number of rows that wait for the writer."""
        return self._queued - self._done

    def record_outcome(self, call: Call) -> None:
        """Complete the row of a call whose intent was recorded. Never waits, never raises."""
        try:
            row = (safe(call.model), *outcome_values(call), call.id)
            attempts = attempt_values(call)
        except Exception:
            logger.exception("the outcome of call %s could not be converted to a row", call.id)
            self._lose(1)
        else:
            self._gather(self._gathering.outcomes, row, attempts)

    def record_final(self, call: Call) -> None:
        """Record a call that ended before it had an intent, such as a denied one. Never waits, never raises."""
        call.replica = self._replica
        try:
            row = request_values(call) + outcome_values(call)
        except Exception:
            logger.exception("the final of call %s could not be converted to a row", call.id)
            self._lose(1)
        else:
            self._gather(self._gathering.finals, row)

    def refuses(self) -> str | None:
        """Return why calls cannot be recorded now, in words that a client may see, or None if they can.

        After a failure, a trial write in the background ends this state even without a call.
        """
        if self._down:
            return self._down
        if self.waiting >= MAX_QUEUE:
            return TOO_MANY
        self._try_again()
        return self._failure

    def _try_again(self) -> None:
        is_unreachable = self._failure or (self._file.is_shared and self._file.trouble)
        if is_unreachable and time.monotonic() - self._tried_at >= RETRY:
            self._tried_at = time.monotonic()
            self._handover.put(Batch(trial=True))

    @property
    def is_database(self) -> bool:
        """Whether the audit log is in a database rather than in a file."""
        return not self.database.is_file

    @property
    def refuses_without_database(self) -> bool:
        """Whether calls are refused while the database that several machines share is unreachable."""
        return self._file.is_shared

    def refuses_here(self) -> str | None:
        """Return why this process cannot record calls although others may be able to, as `refuses` does, or None."""
        return self._down if self._down or self._file.is_shared else self.refuses()

    def database_trouble(self) -> str | None:
        """Return why the database that several machines share cannot be used, as `refuses` does, or None."""
        if self._down:
            return None
        self._try_again()
        return self._file.trouble

    async def close(self) -> None:
        """Write the waiting rows and close the file."""
        if self._down:
            return
        self._down = "Wirekey is closing"
        self._hand_over()
        self._handover.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_PATIENCE)
        if self._thread.is_alive():
            logger.error("the audit writer did not end within %g s", CLOSE_PATIENCE)

    def _gather(self, rows: list[AuditRow], row: AuditRow, attempts: Sequence[AuditRow] = ()) -> None:
        if self._down or self.waiting >= MAX_QUEUE:
            self._lose(1)
            return
        rows.append(row)
        self._gathering.attempts += attempts
        self._queued += 1
        if self._soon or self._later:
            return
        if self._loop is None or self._loop.is_closed():
            self._hand_over()
        else:
            self._later = self._loop.call_later(LINGER, self._hand_over)

    def _hand_over(self) -> None:
        self._soon = False
        if self._later:
            self._later.cancel()
            self._later = None
        batch = self._gathering
        if not batch:
            return
        self._gathering = Batch()
        if batch.is_awaited:
            assert self._loop
            batch.deadline = self._loop.call_later(self.bound, self._expire, batch)
        self._handover.put(batch)

    def _expire(self, batch: Batch) -> None:
        what = "file" if self.database.is_file else "database"
        reason = self._failure or f"the audit {what} was not written within {self.bound:g} s"
        batch.resolve(reason)

    def _lose(self, count: int) -> None:
        self.lost += count
        now = time.monotonic()
        if now - self._complained_at > SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at = now
            logger.error("%s: call outcomes that could not be recorded so far: %d", self.database.place, self.lost)

    # On the writer's thread.

    def _run(self) -> None:
        unwritten = Rows()
        try:
            closing, refusal = False, None
            while not closing or (unwritten and not refusal):
                pause = self._pause_before(unwritten, refusal)
                batches, closing = ([], True) if closing else self._handover.take(pause)
                if not (batches or closing or unwritten):
                    self._file.idle()
                    continue
                join(batches, unwritten)
                refusal = self._write(unwritten)
                self._note(refusal)
                self._done += sum(len(batch.intents) + len(batch.next_attempts) for batch in batches)
                unwritten.intents.clear()
                unwritten.next_attempts.clear()
                self._report(batches, refusal)
        except BaseException:
            self._down = "the audit writer has failed"
            logger.exception("the audit writer has failed. All calls are refused from now on.")
        finally:
            if unwritten.ends:
                self._lose(unwritten.ends)
            self._file.close()

    def _pause_before(self, unwritten: Rows, refusal: str | None) -> float | None:
        """Return the seconds to wait for more rows."""
        if unwritten:
            return RETRY if refusal else 0
        return self._patience()

    def _patience(self) -> float | None:
        """Return the seconds after which the database has work of its own; None: never."""
        return SOON if self._file.is_busy else self._file.idle_seconds

    def _write(self, rows: Rows) -> str | None:
        """Write and count the rows. Return the reason of a failure.

        Of very many finals, a part is left for the next time. Without the database, each refused call leaves one,
        and all of them together would take longer than one transaction may.
        """
        ends = rows.ends
        part, rest = replace(rows, finals=rows.finals[:MOST_FINALS]), rows.finals[MOST_FINALS:]
        refusal, lost = self._file.write(part)
        rows.outcomes, rows.attempts, rows.finals = part.outcomes, part.attempts, part.finals + rest
        self._done += ends - rows.ends
        if lost:
            self._lose(lost)
        return refusal

    def _note(self, failure: str | None) -> None:
        """Log when a failure begins, changes or ends, rather than for each call."""
        if failure == self._failure:
            return
        self._failure = failure
        if failure:
            logger.error("%s: %s. Calls are refused until it can be written.", self.database.place, failure)
        else:
            logger.warning("%s can be written again.", self.database.place)

    def _report(self, batches: list[Batch], refusal: str | None) -> None:
        awaited = [batch for batch in batches if batch.is_awaited]
        if awaited and self._loop:
            try:
                self._loop.call_soon_threadsafe(resolve, awaited, refusal)
            except RuntimeError:
                logger.debug("the loop ended before its calls were notified")
