"""The core's tests pass in a copy of the checkout that has no feature, and none of the features' tests."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.features.test_removal import CHECKOUT, copy_without
from tests.support.running import bare_environment
from wirekey.feature_registry import FEATURES

CORE = CHECKOUT / "tests/core.txt"
"""What `./run.sh test core` runs: the folders, and what is left out, one a line."""
PARTS = 6
"""How many runs the core's tests are spread over, so that several processes share them."""


@pytest.mark.parametrize("part", range(PARTS))
def test_the_cores_tests_pass_without_any_feature(tmp_path, part):
    packages = copy_without(tmp_path, *FEATURES)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    shutil.copytree(CHECKOUT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("features", "node_modules"))
    for file in (CHECKOUT / "pyproject.toml", *CHECKOUT.glob("*.md")):
        shutil.copy(file, tmp_path)
    lines = CORE.read_text().split()
    folders = [line for line in lines if not line.startswith("-")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *folders[part::PARTS], *(line for line in lines if line not in folders)],
        cwd=tmp_path,
        env=bare_environment() | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert "passed" in done.stdout
