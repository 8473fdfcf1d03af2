"""The audit log in PostgreSQL, as its one writer in this process sees it. For one thread.

Rows go to the server as JSON, one statement for each kind, in one transaction (`postgres_rows`). Each process that
writes has a chain of its own (`postgres_claim`). The chain belongs to an owner, a name that is kept in the state
folder. The next process of this folder continues the chain, and knows that the open calls in it have ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from wirekey.core.audit import checkpoints
from wirekey.core.audit.audit_log import INTERRUPTED, AuditDatabaseError
from wirekey.core.audit.chain import LastLink
from wirekey.core.audit.checkpoints import Checkpoint
from wirekey.core.audit.event import rfc3339
from wirekey.core.audit.rows import Rows
from wirekey.features.postgresql.claim import claim
from wirekey.features.postgresql.connection import explanation, may_pass, open_connection, place_of, reason_of
from wirekey.features.postgresql.rollup import roll_up_all
from wirekey.features.postgresql.rows import MOVED, LostChainError, interrupted_rows, send
from wirekey.features.postgresql.schema import LOCK, make_partitions, migrate

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from wirekey.core.audit.checkpoints import CheckpointKey, Reason
    from wirekey.core.secret import Secret
    from wirekey.features.postgresql.claim import ClaimedChain
    from wirekey.features.postgresql.connection import LimitedConnection

logger = logging.getLogger(__name__)

LINKS_BETWEEN_CHECKPOINTS = 20_000
SEEN_EVERY = 10.0
PARTITIONS_EVERY = 3600.0
ROLL_UP_EVERY = 30.0


class PostgresAudit:
    """The audit log in a PostgreSQL database. `limit`: seconds that a step may take. `owner`: of the chain.

    Raises AuditDatabaseError if the database cannot be used.
    """

    idle_seconds: float | None = SEEN_EVERY
    is_busy = False
    is_shared = True

    def __init__(
        self,
        url: Secret,
        owner: str,
        *,
        durability: str,
        limit: float,
        key: CheckpointKey | None = None,
        also_to: Path | None = None,
    ) -> None:
        self.place = place_of(url)
        if also_to:
            checkpoints.check_writable(also_to)
        self._url, self._owner, self._durability, self._limit = url, owner, durability, limit
        self._key, self._also_to = key, also_to
        self._connection: LimitedConnection | None = None
        self._connecting: Future[LimitedConnection] | None = None
        self._connector = ThreadPoolExecutor(1, "wirekey-audit-connect")
        self._writer, self._chain, self._head = 0, "", LastLink()
        self._unsure: tuple[LastLink, int, int, int] | None = None
        """The last link, and the numbers of outcomes, finals and attempts, of a commit without a response."""
        self._checked: int | None = None
        self._seen_at = self._partitioned_at = self._rolled_up_at = 0.0
        self._stopping = threading.Event()
        self._rolling_up: threading.Thread | None = None
        self.connect_patience = limit
        """Seconds that a step waits for a connection. Connecting continues after that."""
        self.trouble: str | None = None
        self._recover_later = False
        """Whether calls of this owner's previous process may still have to be marked as interrupted."""
        self.moved = 0
        """The number of the last entry of the spool that was moved here. Known while connected."""

    # The interface of the store.

    def open(self) -> None:
        """Connect, and create or update the tables. If the server is unreachable, do so as soon as it responds.

        Raises AuditDatabaseError if the database cannot be used for another reason, which only a person can end.
        """
        try:
            self._connection = self._connect()
        except psycopg.Error as error:
            text = explanation(error)
            if not may_pass(error):
                raise AuditDatabaseError(f"{self.place} cannot be used: {reason_of(error)} ({text}).") from error
            self.trouble = reason_of(error)
            # Not an error, as mitmproxy would then exit.
            logger.warning("%s: %s (%s). Calls are refused until it can be written.", self.place, self.trouble, text)

    def recover(self, tags: tuple[str, ...] = ()) -> int:
        """Mark the calls of this owner's previous process as interrupted, and return their number.

        Without a connection, it does so with the first one, before anything is written.
        """
        if not self._connection:
            self._recover_later = True
            return 0
        rows = interrupted_rows(self._connection, self._writer)
        count = len(rows.outcomes)
        if count:
            self._commit(rows)
        self._recover_later = False
        return count

    def write(self, rows: Rows, spooled: tuple[str, int] | None = None) -> tuple[str | None, int]:
        """Commit the rows. Outcomes and finals that are settled are removed from them.

        `spooled`: the spool that the rows come from, and the number of its entry. Returns the reason of a failure, or
        None, and the number of rows lost because no database accepts them.
        """
        self.trouble, lost = self._write(rows, spooled)
        return self.trouble, lost

    def _write(self, rows: Rows, spooled: tuple[str, int] | None) -> tuple[str | None, int]:
        try:
            self._connected()
            self._recover_if_later()
            self._forget_committed(rows)
            self._commit(rows, spooled)
        except (psycopg.OperationalError, errors.InternalError_, OSError, LostChainError) as error:
            self._disconnect_if_needed(error)
            return reason_of(error), 0
        except Exception as error:
            self._roll_back()
            if not rows.ends or not is_of_rows(error):
                logger.debug("the audit database refused rows: %s", type(error).__name__)
                return reason_of(error), 0
            return self._write_singly(rows, error)
        rows.outcomes.clear()
        rows.finals.clear()
        rows.attempts.clear()
        return None, 0

    def _recover_if_later(self) -> None:
        if self._recover_later and (count := self.recover()):
            logger.warning(INTERRUPTED, count)

    def idle(self) -> None:
        """Show that this process lives, and notice without a call whether the database does."""
        now = time.monotonic()
        if now - self._seen_at < SEEN_EVERY:
            return
        self._seen_at = now
        try:
            self._connected().execute("UPDATE chain_head SET seen = now() WHERE writer = %s", [self._writer])
        except (psycopg.Error, OSError) as error:
            self.trouble = reason_of(error)
            self._disconnect_if_needed(error)
            return
        self.trouble = None
        self._roll_up(now)

    def close(self) -> None:
        """Sign a last checkpoint and disconnect."""
        self._stopping.set()
        try:
            if self._connection:
                self.checkpoint("stop")
        except (psycopg.Error, OSError) as error:
            logger.error("The last checkpoint could not be stored: %s", reason_of(error))  # noqa: TRY400  # the reason is enough
        self._disconnect()
        self._connector.shutdown(wait=False, cancel_futures=True)

    # For a spool.

    def reach(self, patience: float | None = None) -> str | None:
        """Connect if there is no connection, within `patience` seconds. Return the reason of a failure."""
        try:
            self._connected(patience)
        except (psycopg.Error, OSError) as error:
            return reason_of(error)
        return None

    @property
    def is_connecting(self) -> bool:
        """Whether an attempt to connect has not ended yet."""
        return self._connecting is not None

    def take_unsure(self) -> bytes | None:
        """Return the hash of the last link of a commit whose response was lost, and forget it."""
        unsure, self._unsure = self._unsure, None
        return unsure[0].hash if unsure else None

    @property
    def last_hash(self) -> bytes:
        """The hash of the last link. Known while connected."""
        return self._head.hash

    # Connections.

    def _connected(self, patience: float | None = None) -> LimitedConnection:
        """Return the connection. Connects in another thread, which may take longer than a call can wait."""
        if self._connection and not self._connection.closed:
            return self._connection
        if self._connecting is None:
            self._connecting = self._connector.submit(self._connect)
        try:
            self._connection = self._connecting.result(patience or self.connect_patience)
        except TimeoutError:
            raise psycopg.OperationalError("not connected yet") from None
        except AuditDatabaseError as error:
            logger.error("%s", error)  # noqa: TRY400  # the message is complete
            raise psycopg.OperationalError("not usable") from None
        finally:
            if self._connecting.done():
                self._connecting = None
        return self._connection

    def _connect(self) -> LimitedConnection:
        connection = open_connection(self._url, durability=self._durability)
        try:
            migrate(connection, self.place)
            self._use(claim(connection, self._owner, begin=self._begin))
            connection.limit = self._limit
            connection.execute(f"SET statement_timeout = {int(self._limit * 1000)}".encode())
        except BaseException:
            connection.close()
            raise
        self._partitioned_at = self._rolled_up_at = time.monotonic()
        return connection

    def _begin(self, connection: LimitedConnection, chain: str) -> None:
        if self._key:
            self._store(connection, chain, LastLink(), "begin")

    def _use(self, claimed: ClaimedChain) -> None:
        self._writer, self._chain, self._head = claimed.writer, claimed.chain, claimed.head
        self.moved = claimed.moved

    def _disconnect_if_needed(self, error: Exception) -> None:
        if isinstance(error, LostChainError) or not self._connection or self._connection.closed:
            self._disconnect()
        else:
            self._roll_back()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _roll_back(self) -> None:
        try:
            if self._connection:
                self._connection.rollback()
        except psycopg.Error:
            self._disconnect()

    # Writing.

    def _forget_committed(self, rows: Rows) -> None:
        """Remove what an earlier commit has stored, whose response was lost with its connection."""
        unsure, self._unsure = self._unsure, None
        if unsure and unsure[0] == self._head:
            _, outcomes, finals, attempts = unsure
            del rows.outcomes[:outcomes], rows.finals[:finals], rows.attempts[:attempts]

    def _commit(self, rows: Rows, spooled: tuple[str, int] | None = None) -> None:
        connection = self._connection
        assert connection
        with connection.pipeline():
            connection.execute("BEGIN")
            head, sent = send(connection, rows, self._head, self._writer, self._owner)
            if spooled:
                connection.execute(MOVED, spooled)
            if not rows.outcomes:
                # In the same round trip, as calls wait for it. Links that another process has written conflict.
                self._unsure = (head, 0, len(rows.finals), len(rows.attempts))
                connection.execute("COMMIT")
        for statement in sent:
            if statement.cursor.rowcount != statement.expected:
                connection.rollback()
                raise statement.mistake
        if rows.outcomes:
            self._unsure = (head, len(rows.outcomes), len(rows.finals), len(rows.attempts))
            connection.execute("COMMIT")
        self._unsure = None
        self._head = head
        if spooled:
            self.moved = spooled[1]
        self._seen_at = time.monotonic()
        self._after_commit(connection)

    def _after_commit(self, connection: LimitedConnection) -> None:
        now = time.monotonic()
        self._checked = self._head.seq if self._checked is None else self._checked
        try:
            if self._head.seq - self._checked >= LINKS_BETWEEN_CHECKPOINTS:
                self.checkpoint("interval")
            if now - self._partitioned_at > PARTITIONS_EVERY:
                self._partitioned_at = now
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCK])
                    make_partitions(connection, datetime.now(UTC))
        except (psycopg.Error, OSError) as error:
            logger.error("A checkpoint or a partition of the audit could not be stored: %s", reason_of(error))  # noqa: TRY400  # the reason is enough

        self._roll_up(now)

    def _roll_up(self, now: float) -> None:
        """Bring the hourly sums up to date from time to time, in a thread that no call waits for."""
        if now - self._rolled_up_at < ROLL_UP_EVERY or (self._rolling_up and self._rolling_up.is_alive()):
            return
        self._rolled_up_at = now
        # A daemon, because the process need not wait for it: what is not committed is added by the next run.
        self._rolling_up = threading.Thread(
            target=roll_up_all, args=(self._url, self._stopping), name="wirekey-audit-rollup", daemon=True
        )
        self._rolling_up.start()

    def _write_singly(self, rows: Rows, cause: Exception) -> tuple[str | None, int]:
        """Write the rows one by one and skip those that cannot be stored, so that they do not block the others."""
        lost = 0
        single = [
            Rows(outcomes=[row], attempts=[one for one in rows.attempts if one[0] == row[-1]]) for row in rows.outcomes
        ]
        single += [Rows(finals=[row]) for row in rows.finals]
        for one in single:
            try:
                self._commit(one)
            except (psycopg.OperationalError, LostChainError) as error:
                self._disconnect_if_needed(error)
                return reason_of(error), lost
            except Exception as error:
                self._roll_back()
                if not is_of_rows(error):
                    return reason_of(error), lost
                lost += 1
                logger.debug("a row cannot be stored: %s", type(error).__name__)
            for kept, settled in ((rows.outcomes, one.outcomes), (rows.finals, one.finals)):
                for row in settled:
                    kept.remove(row)
        rows.attempts.clear()
        return reason_of(cause) if rows.intents or rows.next_attempts else None, lost

    # Checkpoints.

    def checkpoint(self, reason: Reason) -> None:
        """Sign and store a checkpoint of the last link, unless there is one already. Raises psycopg.Error, OSError."""
        if self._key and self._connection and self._head.seq != self._checked:
            self._store(self._connection, self._chain, self._head, reason)

    def _store(self, connection: LimitedConnection, chain: str, last: LastLink, reason: Reason) -> None:
        assert self._key
        point = Checkpoint(chain=chain, seq=last.seq, hash=last.hash.hex(), time=rfc3339(time.time()), reason=reason)
        signed = self._key.signed(point)
        connection.execute(
            "INSERT INTO checkpoints (chain, seq, document) VALUES (%s, %s, %s)", [chain, last.seq, signed.document()]
        )
        self._checked = last.seq
        checkpoints.log(signed)
        if self._also_to:
            checkpoints.append(self._also_to, signed)


def is_of_rows(error: Exception) -> bool:
    """Return whether an error is of a row that the database never accepts, rather than of the database."""
    return not isinstance(error, psycopg.Error) or isinstance(error, psycopg.DataError | psycopg.IntegrityError)
