"""The import contracts of pyproject.toml hold, and no file is in a circle of imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDONS = ROOT / "addons"
PACKAGES = ("wirekey", "wirekey_rego", "wirekey_simulator")


def test_the_import_contracts_hold():
    pytest.importorskip("importlinter")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def name_of(file: Path) -> str:
    names = file.relative_to(ADDONS).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imported() -> dict[str, set[str]]:
    """Return each module with those that it imports anywhere: at the top, in functions, and for types."""
    files = [file for package in PACKAGES for file in (ADDONS / package).rglob("*.py")]
    trees = {name_of(file): ast.parse(file.read_text()) for file in files}
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


def test_no_file_is_in_a_circle_of_imports():
    modules = imported()
    assert {*PACKAGES} <= modules.keys()
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
