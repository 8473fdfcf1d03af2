"""The core's tests pass in a copy of the checkout that has no feature, and none of the features' tests.

A test from which no import leads to a feature, or to the registry that finds them, runs the same code with and without
features. It runs once, with all other tests. WIREKEY_CORE_ALONE=all runs those tests in the copy too.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

from tests.features.test_removal import CHECKOUT, copy_without
from tests.support.running import bare_environment
from wirekey.feature_registry import FEATURES

CORE = CHECKOUT / "tests/core.txt"
"""What `./run.sh test core` runs: the folders, and what is left out, one a line."""
PARTS = 2
"""How many runs the tests are spread over, so that several processes share them."""
STARTED = re.compile(r'"-m", "(wirekey[\w.]*)"')
"""A module that a process runs."""


def files() -> list[str]:
    """Return the files of the core's tests."""
    lines = CORE.read_text().split()
    left_out = {line.removeprefix("--ignore=") for line in lines}
    found = [file for line in lines if not line.startswith("-") for file in (CHECKOUT / line).rglob("test_*.py")]
    return sorted({file.relative_to(CHECKOUT).as_posix() for file in found} - left_out)


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("wirekey", "wirekey_rego", "wirekey_simulator", cache_dir=None)


def packages_of(module: str) -> set[str]:
    """Return the packages that Python imports before a module."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def file_of(module: str) -> Path | None:
    """Return the file of a module of the packages or of the tests."""
    folder = CHECKOUT if module.startswith("tests.") else CHECKOUT / "addons"
    place = folder / module.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)


@cache
def used_by(module: str) -> set[str]:
    """Return the modules that a module imports anywhere, and those that it starts as a process."""
    file = file_of(module)
    if file is None:
        return set()
    text = file.read_text()
    found = {f"{started}.__main__" if started == "wirekey" else started for started in STARTED.findall(text)}
    if module in graph().modules:
        return found | graph().find_modules_directly_imported_by(module) | packages_of(module)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found | packages_of(module)


def leads_to_features(file: str) -> bool:
    """Return whether what a test file uses, and what that uses, includes the registry of the features or a feature."""
    seen = {file.removesuffix(".py").replace("/", ".")}
    following = list(seen)
    while following:
        found = used_by(following.pop()) - seen
        if any(f"{module}.".startswith(("wirekey.feature_registry.", "wirekey.features.")) for module in found):
            return True
        seen |= found
        following += found
    return False


@pytest.mark.parametrize(
    ("file", "leads"),
    [
        ("providers/test_registry.py", True),  # imports the registry
        ("credentials/test_aws_source.py", True),  # by a module of the core
        ("audit/test_store.py", True),  # by a module of the tests
        ("policy/test_worker.py", False),  # starts a process that knows no feature
        ("signing/test_sign.py", False),
    ],
)
def test_the_imports_of_a_test_are_followed(file, leads):
    assert f"tests/{file}" in files()
    assert leads_to_features(f"tests/{file}") is leads


def test_the_processes_of_a_module_are_followed():
    assert "wirekey.core.policy.worker_process" in used_by("wirekey.core.policy.worker")
    assert "wirekey.__main__" in used_by("tests.support.running")


@pytest.mark.parametrize("part", range(PARTS))
def test_the_cores_tests_pass_without_any_feature(tmp_path, part):
    packages = copy_without(tmp_path, *FEATURES)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    shutil.copytree(CHECKOUT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("features", "node_modules"))
    for file in (CHECKOUT / "pyproject.toml", *CHECKOUT.glob("*.md")):
        shutil.copy(file, tmp_path)
    everything = os.environ.get("WIREKEY_CORE_ALONE") == "all"
    chosen = [file for file in files() if everything or leads_to_features(file)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen[part::PARTS]],
        cwd=tmp_path,
        env=bare_environment() | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert "passed" in done.stdout or "[100%]" in done.stdout
