"""Reads agents with credentials that exist already from JSON or CSV. Pure. No message quotes a token or a secret."""

from __future__ import annotations

import csv
import difflib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.core.identity.agents_format import AgentError, check_name, checked_attributes
from wirekey.core.identity.imported_credentials import problem_of_client_id, problem_of_secret, problem_of_token
from wirekey.core.labels import checked_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wirekey.core.labels import LabelPairs

LARGEST_FILE = 16 * 1024 * 1024
FIELDS = (
    "agent",
    "role",
    "type",
    "permissions",
    "suspended",
    "labels",
    "token",
    "tokens",
    "client_id",
    "client_secret",
)
CSV_FIELDS = tuple(name for name in FIELDS if name != "tokens")
MOST_PROBLEMS = 20
SUSPENDED = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": None}


class ImportRefusedError(UserError):
    """Nothing was imported. `problems` say why, by file, row and field."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = "\n".join(problems[:MOST_PROBLEMS])
        more = f"\n… and {len(problems) - MOST_PROBLEMS} more problems." if len(problems) > MOST_PROBLEMS else ""
        super().__init__(f"Nothing was imported.\n{shown}{more}")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """One agent of a file. `place` is the file and the row. None: the file says nothing about it."""

    place: str
    agent: str
    role: str | None = None
    type: str | None = None
    permissions: tuple[str, ...] | None = None
    suspended: bool | None = None
    labels: LabelPairs | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)


def read_entries(data: bytes, name: str) -> list[AgentEntry]:
    """Return the agents of a file, which is JSON if it begins with `[` or `{`, and CSV otherwise.

    `name`: of the file, for messages. Raises ImportRefusedError with all problems.
    """
    if len(data) > LARGEST_FILE:
        raise ImportRefusedError([f"{name}: is larger than 16 MiB. Import it in parts."])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ImportRefusedError([f"{name}: is not a text file in UTF-8."]) from None
    rows = json_rows(text, name) if text.lstrip().startswith(("[", "{")) else csv_rows(text, name)
    entries: list[AgentEntry] = []
    problems: list[str] = []
    for place, row in rows:
        try:
            entries.append(entry_of(place, row))
        except ImportRefusedError as refused:
            problems += refused.problems
    if not entries and not problems:
        problems.append(f"{name}: has no agents. See: {COMMAND} agents import --help.")
    problems += list(repeated_credentials(entries))
    if problems:
        raise ImportRefusedError(problems)
    return entries


def json_rows(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (place, members) of each agent in JSON: a list of objects, or an object with the list as `agents`."""
    try:
        document = json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise ImportRefusedError([f"{name}: is nested too deeply."]) from None
    except json.JSONDecodeError as error:
        message = f"{name}: line {error.lineno}: is not valid JSON ({error.msg})."
        raise ImportRefusedError([message]) from None
    except ValueError as error:
        raise ImportRefusedError([f"{name}: {error}."]) from None
    if isinstance(document, dict):
        document = document["agents"] if set(document) == {"agents"} else [document]
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise ImportRefusedError([f"{name}: must be a list of objects, one for each agent."])
    return [(f"{name}: row {number}", row) for number, row in enumerate(document, 1)]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises ValueError if it has a member twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the member {twice[:40]!r} twice")
    return dict(pairs)


def csv_rows(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (place, members) of each row of CSV, whose first row has the names of the fields. Row 1 is that row."""
    try:
        table = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise ImportRefusedError([f"{name}: is not valid CSV ({error})."]) from None
    head = [cell.strip() for cell in table[0]] if table else []
    problems = [problem for cell in head for problem in unknown_field(f"{name}: row 1", cell, CSV_FIELDS)]
    if len(set(head)) != len(head):
        problems.append(f"{name}: row 1: names a field twice.")
    for number, row in enumerate(table[1:], 2):
        if len(row) != len(head):
            problems.append(f"{name}: row {number}: has {len(row)} cells, and the first row has {len(head)}.")
    if problems:
        raise ImportRefusedError(problems)
    return [
        (f"{name}: row {number}", {cell: value.strip() for cell, value in zip(head, row, strict=True) if value.strip()})
        for number, row in enumerate(table[1:], 2)
    ]


def unknown_field(place: str, name: str, known: Sequence[str]) -> Iterator[str]:
    """Yield the problem of a field that does not exist."""
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"The fields are {', '.join(known)}."
        yield f"{place}: {name[:40]!r} is not a field. {hint}"


def entry_of(place: str, row: dict[str, Any]) -> AgentEntry:
    """Return one agent. Raises ImportRefusedError with the problems of its fields."""
    problems = [problem for name in row for problem in unknown_field(place, name, FIELDS)]
    texts = {}
    for name in ("agent", "role", "type", "token", "client_id", "client_secret"):
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            problems.append(f"{place}: {name}: must be a text.")
        texts[name] = value if isinstance(value, str) and value else None
    permitted = names_of(row.get("permissions"))
    tokens = list_of(row.get("tokens"))
    suspended = row.get("suspended")
    if isinstance(suspended, str):
        suspended = SUSPENDED.get(suspended.lower(), suspended)
    if suspended is not None and not isinstance(suspended, bool):
        problems.append(f"{place}: suspended: must be true or false.")
    if permitted is None and row.get("permissions") is not None:
        problems.append(f"{place}: permissions: must be a list of words, or words separated by spaces.")
    pairs = pairs_of(row.get("labels"))
    if pairs is None and row.get("labels") is not None:
        problems.append(f"{place}: labels: must be an object of texts, or words NAME=VALUE, each name once.")
    if tokens is None and row.get("tokens") is not None:
        problems.append(f"{place}: tokens: must be a list of texts.")
    if problems:
        raise ImportRefusedError(problems)
    entry = AgentEntry(
        place,
        texts["agent"] or "",
        texts["role"],
        texts["type"],
        permitted,
        suspended,
        pairs,
        (*((texts["token"],) if texts["token"] else ()), *(tokens or ())),
        texts["client_id"],
        texts["client_secret"],
    )
    if problems := list(problems_of(entry)):
        raise ImportRefusedError(problems)
    return entry


def list_of(value: Any) -> tuple[str, ...] | None:
    """Return a list of texts; None if it is not one."""
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def names_of(value: Any) -> tuple[str, ...] | None:
    """Return a list of words, which may also be a text with spaces; None if it is neither."""
    return tuple(value.split()) if isinstance(value, str) else list_of(value)


def pairs_of(value: Any) -> LabelPairs | None:
    """Return labels by name, or as a text of NAME=VALUE, sorted; None if they are neither."""
    if isinstance(value, str):
        words = value.split()
        value = dict(word.partition("=")[::2] for word in words)
        if len(value) != len(words):
            return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        return None
    return tuple(sorted(value.items()))


def problems_of(entry: AgentEntry) -> Iterator[str]:
    """Yield the problems of the fields of one agent."""
    place = entry.place
    try:
        check_name(entry.agent)
    except AgentError as error:
        yield f"{place}: agent: {error if entry.agent else 'is missing.'}"
    for name, role, kind, permitted in (
        ("role", entry.role, None, None),
        ("type", None, entry.type, None),
        ("permissions", None, None, entry.permissions),
    ):
        try:
            checked_attributes(role, kind, permitted)
        except AgentError as error:
            yield f"{place}: {name}: {error}"
    try:
        checked_pairs(dict(entry.labels or ()))
    except ValueError as error:
        yield f"{place}: labels: {error}"
    for token in entry.tokens:
        if problem := problem_of_token(token):
            yield f"{place}: token: {problem}."
    if (entry.client_id is None) != (entry.client_secret is None):
        missing = "client_secret" if entry.client_secret is None else "client_id"
        yield f"{place}: {missing}: is missing. A client needs both client_id and client_secret."
    if entry.client_id is not None and (problem := problem_of_client_id(entry.client_id)):
        yield f"{place}: client_id: {problem}."
    if entry.client_secret is not None and (problem := problem_of_secret(entry.client_secret)):
        yield f"{place}: client_secret: {problem}."


def repeated_credentials(entries: Sequence[AgentEntry]) -> Iterator[str]:
    """Yield the problem of each token or client id that the file has twice, for different agents or clients."""
    tokens: dict[str, AgentEntry] = {}
    clients: dict[str, AgentEntry] = {}
    for entry in entries:
        for token in entry.tokens:
            first = tokens.setdefault(token, entry)
            if first.agent != entry.agent:
                yield f"{entry.place}: token: is also the token of {first.agent} ({first.place})."
        if entry.client_id is not None:
            first = clients.setdefault(entry.client_id, entry)
            if (first.agent, first.client_secret) != (entry.agent, entry.client_secret):
                yield f"{entry.place}: client_id: is also in {first.place}, with another agent or secret."
