"""The protocols of an audit log, in a file or in a database of several machines. `sqlite.py` implements the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from wirekey.core.audit.chain import ChainSource
    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.audit.delivery_state import DeliveryState
    from wirekey.core.audit.filters import Dialect, Filters
    from wirekey.core.audit.rows import Rows
    from wirekey.core.audit.sums import GroupBy, SummedCalls

INTERRUPTED = "%d calls were in progress when Wirekey last stopped. They are recorded as interrupted."


class AuditDatabaseError(UserError):
    """The audit log cannot be used. The message names it and the fix, without a password."""


class AuditUnavailable(Exception):  # noqa: N818  # a state of the audit log, not an error of the caller
    """A call could not be recorded. The message may be shown to clients and has no final period."""


class AuditDatabase(Protocol):
    """A file or a database of an audit log. Nothing is opened yet."""

    @property
    def bound(self) -> float:
        """Seconds within which the intent of a call is recorded or refused."""

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this machine. Otherwise, other machines write to it, too."""

    @property
    def place(self) -> str:
        """Its name for messages, without a password."""

    def exists(self) -> bool:
        """Return False if it is a file that does not exist yet, so that nothing was recorded."""

    def reading(self) -> AbstractContextManager[AuditReader]:
        """Open it for reading, and close it at the end. Raises AuditDatabaseError, also in between."""

    def open_writer(self, key: CheckpointKey | None, *, alone: bool) -> AuditWriter:
        """Open it for writing. Raises AuditDatabaseError.

        `key`: signs checkpoints; None: none are made. `alone`: whether no other process of this machine writes to it.
        """

    def delivery_state(self) -> DeliveryState:
        """Return what is kept beside it of the delivery of its events. Nothing is opened yet."""

    def prune(self, moment: float, key: CheckpointKey, on_progress: Callable[[int], None] = ...) -> int:
        """Delete the events of calls that started before `moment` (Unix seconds) and have ended. Return their number.

        `on_progress` gets the number deleted so far. Raises AuditDatabaseError, and OSError if the checkpoint cannot be
        added to the file of checkpoints.
        """


class Cursor(Protocol):
    """The rows of a statement."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows. They may be fetched in portions."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all remaining rows."""


class AuditReader(Protocol):
    """An audit log that is open for reading."""

    dialect: Dialect
    writer: str
    """SQL for the number of the writer of a link. Each writer has a chain of its own."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Return the rows of a statement with `?` for values. All rows from BEGIN to COMMIT are of one moment."""

    def has_attempts(self) -> bool:
        """Return whether there is a table of attempts. A file of an earlier version has none."""

    def sums(self, filters: Filters, starts: range, by: GroupBy | None) -> SummedCalls:
        """Return the sums over some calls. `starts`: of the buckets, in Unix seconds. `by`: of the groups."""

    def chains(self) -> list[ChainSource]:
        """Return all chains, in the order in which they began. Raises AuditDatabaseError without a chain."""

    def without_writer(self) -> list[str]:
        """Return the first calls that no writer can have recorded."""


class AuditWriter(Protocol):
    """An audit log that is open for writing, for one thread."""

    idle_seconds: float | None
    """Seconds without rows after which `idle` is called; None: never."""
    is_shared: bool
    """Whether rows go only to a database that other machines write, too, so that none of them records without it."""

    @property
    def trouble(self) -> str | None:
        """Why a database that other machines write, too, cannot be used at present. None if it can, or for a file."""

    @property
    def is_busy(self) -> bool:
        """Whether `idle` should be called soon."""

    def recover(self, tags: tuple[str, ...]) -> int:
        """Mark calls of a previous process that were in progress as interrupted. Return their number.

        `tags`: the ends of their ids, by which processes that share a file are distinguished. Raises
        AuditDatabaseError.
        """

    def write(self, rows: Rows) -> tuple[str | None, int]:
        """Commit the rows and remove outcomes and finals that are settled.

        Return the reason of a failure, or None, and the number of rows lost because no database accepts them.
        """

    def idle(self) -> None:
        """Do what is due when there are no rows."""

    def close(self) -> None:
        """Sign a last checkpoint and close the database."""
