"""The page docs/redteam.md: what is not held first, then each technique in a table of its family."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from tests.redteam.technique import Result

PAGE = Path(__file__).parents[2] / "docs" / "redteam.md"
FOLDER = re.compile(r"/tmp/[^\s:'\"]*")
LONGEST = 90
"""Characters of a cell."""
HEAD = """# Red team

A program behind Wirekey, or a provider that was taken over, tries to see a provider's key, to make a call without a
record, to reach an address that it must not reach, or to be another agent. {count} techniques, tried on {day} at the
commit {commit}: {held} held, {lost} not. Files that Wirekey wrote and that have a key: {leaks}. [Security](security.md)
says what Wirekey protects, and what it does not.

<!-- not run: it needs root and takes minutes -->
```bash
.venv/bin/python -m tests.redteam --write     # all of them, and this page
```

A technique is held if all that the program received and all files are without a key, in each spelling, if each request
that reached the provider is a recorded call of the agent, with its model and its verified labels, if nothing was
dialled that must not be, and, where the technique is a forgery, if it was refused. All of them run against one Wirekey
in a network namespace. In it, private addresses and those of cloud metadata lead to a listener that counts connections,
and a resolver gives names other addresses each time. CI tries each tenth.

## Not held
"""
TABLE = ["| # | tried | stopped by | verdict |", "|---|---|---|---|"]


def row(result: Result) -> str:
    """Return the row of a technique."""
    known = f" Known: {result.technique.known}." if result.technique.known else ""
    verdict = "held" if result.held else f"**not held**: {', '.join(result.broken)}.{known}"
    cells = (str(result.number), code(result.technique.tried), code(result.stopped_by), verdict)
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return text as code in a table: printable, without the characters that end a cell or the code."""
    written = (
        FOLDER.sub("FOLDER", ascii(text.replace(str(PAGE.parents[1]), "CHECKOUT"))[1:-1])
        .replace("|", "/")
        .replace("`", "'")
        .strip()
    )
    return f"`{written[:LONGEST].rstrip() or ' '}`"


def page(results: list[Result], leaks: list[str], day: str, commit: str) -> str:
    """Return the page."""
    lost = [result for result in results if not result.held]
    lines = [
        HEAD.format(
            count=len(results), day=day, commit=commit, held=len(results) - len(lost), lost=len(lost), leaks=len(leaks)
        )
    ]
    lines += [*TABLE, *map(row, lost)] if lost else ["Nothing."]
    ordered = sorted(results, key=lambda result: result.technique.family.lower())
    for family, some in groupby(ordered, key=lambda result: result.technique.family):
        lines += ["", f"## {family[0].upper()}{family[1:]}", "", *TABLE, *map(row, some)]
    return "\n".join([*lines, ""])
