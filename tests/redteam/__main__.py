"""Try all techniques of the red team: python -m tests.redteam [--family NAME] [--write FILE]

It runs in a network namespace of its own, in which only the loopback interface exists, if the system permits one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.redteam.ground import ground
from tests.redteam.library import ALL
from tests.redteam.technique import Result

INSIDE = "WIREKEY_REDTEAM_INSIDE"


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each technique that is not held, and a count. Return 1 if one is not held."""
    parser = argparse.ArgumentParser(prog="python -m tests.redteam", description="Try to get the provider's key.")
    parser.add_argument("--family", help="only this family")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args(arguments)
    if os.geteuid():
        parser.error("needs root, to become another user")
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as place:
        Path(folder).chmod(0o711)  # only the modes of Wirekey's own files protect them
        results = [
            place.try_(number, technique)
            for number, technique in enumerate(ALL, 1)
            if options.family in (None, technique.family)
        ]
        leaks = place.leaks()
    lost = [result for result in results if not result.held]
    print("\n".join([*map(row, lost), *leaks]))
    print(f"{len(results)} techniques, {len(lost)} not held, {len(leaks)} files with a key; {namespace()}")
    if options.write:
        options.write.write_text(page(results, leaks))
    return 1 if lost or leaks else 0


def namespace() -> str:
    """Say where the run took place."""
    return "in a network namespace" if os.environ.get(INSIDE) else "WITHOUT a network namespace"


def row(result: Result) -> str:
    """Return the row of a technique."""
    cells = (
        str(result.number),
        result.technique.family,
        code(result.technique.tried),
        code(result.stopped_by),
        "held" if result.held else f"**not held**: {', '.join(result.broken)}",
    )
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return text as code in a table: printable, without the characters that end a cell or the code."""
    return "`" + ascii(text)[1:-1].replace("|", "/").replace("`", "'") + "`"


def page(results: list[Result], leaks: list[str]) -> str:
    """Return the page with a row for each technique."""
    head = ["# Red team", "", f"{len(results)} techniques, {namespace()}. Files with a key: {len(leaks)}.", ""]
    table = ["| # | family | tried | stopped by | verdict |", "|---|---|---|---|---|", *map(row, results)]
    return "\n".join([*head, *table, ""])


def inside() -> int:
    """Run this command in a network namespace, or here if the system permits none."""
    if os.environ.get(INSIDE) or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        return main()
    command = 'ip link set lo up && exec "$0" -m tests.redteam "$@"'
    return subprocess.run(
        ["unshare", "-n", "sh", "-c", command, sys.executable, *sys.argv[1:]],
        env=os.environ | {INSIDE: "1"},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(inside())
