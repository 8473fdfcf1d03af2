"""README and docs/ as data: their fenced blocks, each with the comment before it.

| comment before a block | means |
|---|---|
| `<!-- not run: REASON -->` | a block of commands that cannot be run in a test |
| `<!-- needs: PROGRAM -->` | run only where the machine has the program |
| `<!-- exit: N -->` | its last command ends with this code |
| `<!-- file: NAME -->` | is written to this file of the checkout, for the blocks after it |
| `<!-- shows: serve -->` | what the running server printed at its start |
| `<!-- data: FOLDER -->` | the data file of this folder, in the policy cookbook |
| `<!-- configuration -->` | a whole wirekey.yaml, which must load |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
GENERATED = {"docs/reference/command-line.md", "docs/reference/configuration.md", "docs/reference/audit-event.md"}
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- ([a-z ]+?)(?:: (.*?))? -->$")
COMMAND_LANGUAGES = ("console", "bash", "sh", "shell")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    about: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def has_commands(self) -> bool:
        return self.language in COMMAND_LANGUAGES


def page_names() -> list[str]:
    """Return the pages as paths in the checkout, README first."""
    others = sorted(path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("docs/**/*.md"))
    return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *others]


def text_of(page: str) -> str:
    return (CHECKOUT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    text = text_of(page)
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], comments_before(text[: found.start()]))
        for found in FENCE.finditer(text)
    ]


def comments_before(text: str) -> dict[str, str]:
    about = {}
    for line in reversed(text.rstrip("\n").split("\n")):
        if not (found := COMMENT.fullmatch(line.strip())):
            break
        about[found[1]] = found[2] or ""
    return about


def prose_of(page: str) -> str:
    """Return a page without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text_of(page)))
