"""Reads recorded calls while the writer runs: the latest, one, all, and new ones as they arrive."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.audit_log import glob_expression, is_postgres
from wirekey.core.audit.event import ATTEMPT_NAMES, FIELDS, MAX_PATH, MAX_REASON, NAMES, safe
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from wirekey.core.audit.audit_log import AuditConnection
    from wirekey.core.audit.event import EventValue

type AuditEvent = dict[str, EventValue]

COLUMNS = ", ".join(NAMES)
BOOLEANS = tuple(field.name for field in FIELDS if field.type == "boolean")
UNDER_WAY = "under_way"
"""The filter value for calls without an outcome."""
LONGEST_TEXT = max(MAX_PATH, MAX_REASON)
SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class NoSuchCallError(UserError):
    """No call, or more than one, has the given id."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on calls. `since` (inclusive) and `until` (exclusive): Unix seconds.

    `model`: requested or sent; * and ?.
    """

    since: float | None = None
    until: float | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    outcome: str | None = None

    def where(self, *, postgres: bool = False) -> tuple[str, list[EventValue]]:
        """Return a WHERE clause, which may be empty, and its values. `postgres`: for PostgreSQL instead of SQLite."""
        clauses: list[str] = []
        values: list[EventValue] = []
        # Ids begin with the start time of the call, and are indexed.
        for timestamp, comparison in ((self.since, ">="), (self.until, "<")):
            if timestamp is not None:
                clauses.append(f"id {comparison} ?")
                values.append(first_id_at(timestamp))
        for name, wanted in (("agent_id", self.agent), ("provider", self.provider)):
            if wanted is not None:
                clauses.append(f"{name} = ?")
                values.append(safe(wanted))
        if self.model is not None:
            pattern = safe(self.model) or ""
            matches = "~" if postgres else "GLOB"
            clauses.append(f"(model {matches} ? OR requested_model {matches} ?)")
            values += [glob_expression(pattern) if postgres else pattern] * 2
        if self.outcome == UNDER_WAY:
            clauses.append("outcome IS NULL")
        elif self.outcome is not None:
            clauses.append("outcome = ?")
            values.append(self.outcome)
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def first_id_at(timestamp: float) -> str:
    """Return a text that sorts before all UUIDv7s of a millisecond and after all earlier ones."""
    digits = f"{min(max(0, int(timestamp * 1000)), 2**48 - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def first_call_time(database: AuditConnection) -> float | None:
    """Return the start of the first recorded call in Unix seconds, or None if there is no call.

    It is the earlier one of its time and the time in its id, by which `Filters` compares: the time is set after the id.
    """
    found = database.execute("SELECT id, time FROM calls ORDER BY id LIMIT 1").fetchone()
    if found is None:
        return None
    started = datetime.fromisoformat(found[1]).timestamp()
    with contextlib.suppress(ValueError):  # an id that Wirekey did not make
        return min(started, int(found[0][:8] + found[0][9:13], 16) / 1000)
    return started


def events(database: AuditConnection, filters: Filters) -> Iterator[AuditEvent]:
    """Yield all calls recorded so far, oldest first. Calls that are recorded later are left out."""
    where, values = filters.where(postgres=is_postgres(database))
    return map(event_from, database.execute(f"SELECT {COLUMNS} FROM calls {where} ORDER BY id", values))  # noqa: S608  # values are bound


def latest(database: AuditConnection, filters: Filters, limit: int) -> list[AuditEvent]:
    """Return the last `limit` calls, oldest first."""
    where, values = filters.where(postgres=is_postgres(database))
    rows = database.execute(f"SELECT {COLUMNS} FROM calls {where} ORDER BY id DESC LIMIT ?", [*values, limit])  # noqa: S608  # values are bound
    return [event_from(row) for row in rows][::-1]


def one(database: AuditConnection, part: str) -> AuditEvent:
    """Return the call whose id begins or ends with `part`. Raises NoSuchCallError if it is not exactly one."""
    part = part.lower()
    start = f"SELECT {COLUMNS} FROM calls WHERE id >= ? AND id < ? LIMIT 3"  # noqa: S608  # values are bound
    found = database.execute(start, [part, part + "~"]).fetchall()
    if not found:
        end = "right(id, ?) = ?" if is_postgres(database) else "substr(id, -?) = ?"
        found = database.execute(f"SELECT {COLUMNS} FROM calls WHERE {end} LIMIT 3", [len(part), part]).fetchall()  # noqa: S608  # values are bound
    if not found or not part:
        raise NoSuchCallError(f"No call has an id that begins or ends with {part!r}. See: {COMMAND} audit list.")
    if len(found) > 1:
        ids = ", ".join(row[0] for row in found)
        raise NoSuchCallError(f"More than one call has an id with {part!r}: {ids}. Use a longer part.")
    return event_from(found[0])


def attempts_of(database: AuditConnection, call_id: str) -> list[AuditEvent]:
    """Return the attempts of one call, in order. Empty if there was only one."""
    if not has_attempts(database):
        return []
    rows = database.execute("SELECT * FROM attempts WHERE call_id = ? ORDER BY number", [call_id])
    return [attempt_from(row) for row in rows]


def attempts(database: AuditConnection, filters: Filters) -> Iterator[AuditEvent]:
    """Yield the attempts of all calls with several attempts, oldest first."""
    if not has_attempts(database):
        return iter(())
    where, values = filters.where(postgres=is_postgres(database))
    chosen = f"SELECT * FROM attempts WHERE call_id IN (SELECT id FROM calls {where}) ORDER BY call_id, number"  # noqa: S608  # values are bound
    return map(attempt_from, database.execute(chosen, values))


def has_attempts(database: AuditConnection) -> bool:
    """Return whether the file has a table of attempts. A file of an earlier version does not."""
    if is_postgres(database):
        return True
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchone() is not None


def shown(value: Any) -> Any:
    """Return a stored value as it may be shown. Wirekey stores no other; somebody who may write there could."""
    if isinstance(value, str):
        return shown_text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown_text(text: str | None) -> str | None:
    """Return a stored text as it may be shown. Texts that Wirekey stored are escaped already, and stay as they are."""
    if text is None or (len(text) <= LONGEST_TEXT and text.isascii() and text.isprintable()):
        return text
    return safe(text, LONGEST_TEXT)


def attempt_from(row: tuple[Any, ...]) -> AuditEvent:
    """Return the attempt of a row of the table."""
    return dict(zip(ATTEMPT_NAMES, map(shown, row), strict=True))


def write_jsonl(found: Iterable[AuditEvent], stream: TextIO) -> None:
    """Write one JSON object per line."""
    stream.writelines(json.dumps(event, separators=(",", ":")) + "\n" for event in found)


def write_csv(found: Iterable[AuditEvent], stream: TextIO, names: tuple[str, ...] = NAMES) -> None:
    """Write CSV with a header line. Unknown values are empty.

    A text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(value) for value in event.values()] for event in found)


def cell(value: EventValue) -> EventValue:
    """Return a value in its CSV form."""
    if isinstance(value, str) and value.startswith(SPREADSHEET_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def event_from(row: tuple[Any, ...]) -> AuditEvent:
    """Return the event of a row of the table."""
    event: AuditEvent = dict(zip(NAMES, map(shown, row), strict=True))
    for name in BOOLEANS:
        if event[name] is not None:
            event[name] = bool(event[name])
    return event
