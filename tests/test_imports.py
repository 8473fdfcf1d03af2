"""The import contracts of pyproject.toml hold, and the files of some packages are in no circle of imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDONS = ROOT / "addons"
FREE_OF_CIRCLES = (
    "wirekey.core.addons",
    "wirekey.cli",
    "wirekey.core.endpoints",
    "wirekey.features.console",
    "wirekey.features.metrics",
    "wirekey.features.translation",
    "wirekey.features.workers",
    "wirekey.server",
)
"""Packages of which no file is in a circle, imports for types included. Add yours."""


def test_the_import_contracts_hold():
    pytest.importorskip("importlinter")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def name_of(file: Path) -> str:
    names = file.relative_to(ADDONS).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


@cache
def imported() -> dict[str, set[str]]:
    """Return each module of Wirekey with those that it imports anywhere: at the top, in functions, and for types."""
    trees = {name_of(file): ast.parse(file.read_text()) for file in (ADDONS / "wirekey").rglob("*.py")}
    found = {name: set[str]() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found[name].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                found[name].update(one if one in trees else node.module for one in inner)
        found[name] &= trees.keys() - {name}
    return found


def reachable(start: str) -> set[str]:
    """Return the modules that a module imports, directly or by way of others."""
    found, waiting = set[str](), [start]
    while waiting:
        more = imported()[waiting.pop()] - found
        found |= more
        waiting += more
    return found


@pytest.mark.parametrize("package", FREE_OF_CIRCLES)
def test_no_file_of_a_package_is_in_a_circle_of_imports(package):
    members = [name for name in imported() if name == package or name.startswith(f"{package}.")]
    assert members
    in_circles = [name for name in members if name in reachable(name)]
    try:
        TopologicalSorter({name: imported()[name] & {*in_circles} for name in in_circles}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
    assert not in_circles, "in circles by way of other packages"
