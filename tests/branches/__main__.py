"""Measure the branches that unit tests run of what touches a secret: python -m tests.branches

Exits with 1 if a file has a line or branch that no test runs, other than those in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.branches.table import LEFT_OUT, OPEN, PACKAGES, TESTS

CHECKOUT = Path(__file__).parents[2]
SOURCE = "addons/wirekey/"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
COVERAGE = CACHE / "wirekey-coverage"
"""Where `.ci/run` installs what `coverage.lock` lists."""
SETTINGS = """\
[run]
branch = True
source_pkgs = {packages}
data_file = {folder}/data
[report]
exclude_also =
    if TYPE_CHECKING:
    raise AssertionError
    ^ +\\.\\.\\.$
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the tests, and print each file that has something that they do not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.branches", description="Measure branches.")
    parser.add_argument("--lines", action="store_true", help="name the lines and branches")
    options = parser.parse_args(arguments)
    if not COVERAGE.exists():
        print(f"coverage.py is not installed in {COVERAGE}. Run .ci/run, which installs it.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        status, report = measured(Path(folder))
    if status:
        return status
    found = missing(report)
    for file, places in found.items() if options.lines else ():
        print(f"{file}: {', '.join(places)}")
    counts = {file: len(places) for file, places in found.items()}
    wrong = [sentence for file in counts if (sentence := too_many(file, counts[file], OPEN.get(file, 0)))]
    lower = [f"{file}: write {counts.get(file, 0)}" for file, allowed in OPEN.items() if counts.get(file, 0) < allowed]
    print("\n".join([*wrong, *(f"tests/branches/table.py can be lower: {each}." for each in lower)]))
    files = len(report["files"])
    totals = report["totals"]
    print(f"{files} files: {totals['covered_branches']} of {totals['num_branches']} branches are run")
    return 1 if wrong else 0


def measured(folder: Path) -> tuple[int, dict]:
    """Run the tests. Return their status, and the report as coverage.py writes it in JSON."""
    settings, report = folder / "settings", folder / "report.json"
    names = ",".join(f"wirekey.{name}" for name in PACKAGES)
    settings.write_text(SETTINGS.format(packages=names, folder=folder))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(COVERAGE), os.environ.get("PYTHONPATH", "")])}
    run = [sys.executable, "-m", "coverage"]
    left_out = [f"--deselect={name}" for name in LEFT_OUT]
    tests = [*run, "run", f"--rcfile={settings}", "-m", "pytest", "-q", "--hypothesis-seed=0", *TESTS, *left_out]
    status = subprocess.run(tests, cwd=CHECKOUT, env=environment, check=False).returncode
    if status:
        return status, {}
    write = [*run, "json", "-q", f"--rcfile={settings}", "-o", str(report)]
    subprocess.run(write, cwd=CHECKOUT, env=environment, check=True)
    return 0, json.loads(report.read_text())


def missing(report: dict) -> dict[str, list[str]]:
    """Return file → lines and branches that were not run, of files with any."""
    found = {}
    for file, facts in sorted(report["files"].items()):
        lines = [str(line) for line in facts["missing_lines"]]
        skipped = set(facts["missing_lines"])
        branches = [f"{at}->{to}" for at, to in facts["missing_branches"] if at not in skipped and to not in skipped]
        if lines or branches:
            found[file.removeprefix(SOURCE)] = lines + branches
    return found


def too_many(file: str, missing: int, allowed: int) -> str | None:
    """Return a sentence if a file has more that no test runs than the table allows."""
    if missing <= allowed:
        return None
    return f"{file}: no test runs {missing} lines and branches, {allowed} are allowed. See --lines."


if __name__ == "__main__":
    sys.exit(main())
