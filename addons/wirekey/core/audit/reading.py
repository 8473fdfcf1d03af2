"""Reads recorded calls while the writer runs: the latest, one, all, and new ones as they arrive."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.event import ATTEMPT_NAMES, FIELDS, MAX_PATH, MAX_REASON, NAMES, safe
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.core.labels import LONGEST as LONGEST_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.event import AuditEvent, EventValue
    from wirekey.core.audit.filters import Filters

COLUMNS = ", ".join(NAMES)
BOOLEANS = tuple(field.name for field in FIELDS if field.type == "boolean")
LONGEST_TEXT = max(MAX_PATH, MAX_REASON, LONGEST_LABELS)
SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class NoSuchCallError(UserError):
    """No call, or more than one, has the given id."""


def first_call_time(database: AuditReader) -> float | None:
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


def events(database: AuditReader, filters: Filters) -> Iterator[AuditEvent]:
    """Yield all calls recorded so far, oldest first. Calls that are recorded later are left out."""
    where, values = filters.where(database.dialect)
    return map(event_from, database.execute(f"SELECT {COLUMNS} FROM calls {where} ORDER BY id", values))  # noqa: S608  # values are bound


def latest(database: AuditReader, filters: Filters, limit: int) -> list[AuditEvent]:
    """Return the last `limit` calls, oldest first."""
    where, values = filters.where(database.dialect)
    rows = database.execute(f"SELECT {COLUMNS} FROM calls {where} ORDER BY id DESC LIMIT ?", [*values, limit])  # noqa: S608  # values are bound
    return [event_from(row) for row in rows][::-1]


def one(database: AuditReader, part: str) -> AuditEvent:
    """Return the call whose id begins or ends with `part`. Raises NoSuchCallError if it is not exactly one."""
    part = part.lower()
    start = f"SELECT {COLUMNS} FROM calls WHERE id >= ? AND id < ? LIMIT 3"  # noqa: S608  # values are bound
    found = database.execute(start, [part, part + "~"]).fetchall()
    if not found:
        end = f"SELECT {COLUMNS} FROM calls WHERE substr(id, length(id) - ? + 1) = ? LIMIT 3"  # noqa: S608  # values are bound
        found = database.execute(end, [len(part), part]).fetchall()
    if not found or not part:
        raise NoSuchCallError(f"No call has an id that begins or ends with {part!r}. See: {COMMAND} audit list.")
    if len(found) > 1:
        ids = ", ".join(row[0] for row in found)
        raise NoSuchCallError(f"More than one call has an id with {part!r}: {ids}. Use a longer part.")
    return event_from(found[0])


def attempts_of(database: AuditReader, call_id: str) -> list[AuditEvent]:
    """Return the attempts of one call, in order. Empty if there was only one."""
    if not database.has_attempts():
        return []
    rows = database.execute("SELECT * FROM attempts WHERE call_id = ? ORDER BY number", [call_id])
    return [attempt_from(row) for row in rows]


def attempts(database: AuditReader, filters: Filters) -> Iterator[AuditEvent]:
    """Yield the attempts of all calls with several attempts, oldest first."""
    if not database.has_attempts():
        return iter(())
    where, values = filters.where(database.dialect)
    chosen = f"SELECT * FROM attempts WHERE call_id IN (SELECT id FROM calls {where}) ORDER BY call_id, number"  # noqa: S608  # values are bound
    return map(attempt_from, database.execute(chosen, values))


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
