"""The reference page of the audit event, made from its field table: python -m wirekey.audit.reference > FILE."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wirekey.audit.event import ATTEMPT_FIELDS, FIELDS, LONGEST, LONGEST_PATH, LONGEST_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.audit.event import EventField

TOP = f"""\
# The audit event

<!-- Made by `python -m wirekey.audit.reference` from the field table; change that. -->

One event for each call, flat. It is recorded twice: before the first byte goes to the provider (the intent), and when
the call has ended (the outcome); a call that is refused before is recorded once. `null` means unknown, never 0. No
prompt, no answer, no header, no query and no key is ever part of it.

Texts are printable ASCII: anything else, and the backslash, is escaped as in Python. They are cut at {LONGEST}
characters, `path` and `target` at {LONGEST_PATH}, `policy_reason` at {LONGEST_REASON}.

The store is one SQLite file, `audit.db` in the state folder, with the table `calls`, whose columns are these names
(booleans are 0 and 1 there). It can be read while Wirekey writes; `wirekey audit` does.

| name | type | what it is |
|---|---|---|
"""
ATTEMPTS = """
## Attempts

A call that was sent more than once has a row for each time in the table `attempts`. Before a further attempt goes out,
the rows of it and of those before are there; the outcome completes them. `audit show` prints them below the event, and
with `--json` as the list `each_attempt` after the event's names; `audit export --attempts` writes them instead of the
events.

| name | type | what it is |
|---|---|---|
"""


def page() -> str:
    return TOP + rows(FIELDS) + ATTEMPTS + rows(ATTEMPT_FIELDS)


def rows(fields: Iterable[EventField]) -> str:
    return "".join(f"| `{field.name}` | {field.type} | {field.description} |\n" for field in fields)


if __name__ == "__main__":
    sys.stdout.write(page())
