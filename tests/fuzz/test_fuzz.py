"""Each parser reads inputs that Atheris draws with coverage, and neither crashes, nor hangs, nor differs.

WIREKEY_FUZZ_SECONDS sets how long each target runs; by default, it reads a fixed number of inputs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CHECKOUT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ATHERIS = CACHE / "wirekey-fuzz"
"""Where `.ci/run` installs what `fuzz.lock` lists."""
SECONDS = int(os.environ.get("WIREKEY_FUZZ_SECONDS", "0"))
RUNS = {"policy": 30, "configuration": 1000}
"""Inputs of slow targets."""
MANY = 10_000
NEW = ["sh", "-c", '"$@"; exit $?', "sh"]
"""Starts a process from a small one. libFuzzer's limit of memory also counts that of the process which starts it."""


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_a_parser(target, tmp_path, record_property):
    if not ATHERIS.exists():
        pytest.skip("needs Atheris, which .ci/run installs")
    limit = ["--seconds", str(SECONDS)] if SECONDS else ["--runs", str(RUNS.get(target, MANY))]
    done = subprocess.run(
        [*NEW, sys.executable, "-m", "tests.fuzz", target, *limit, "--corpus", tmp_path / "corpus"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT / "addons", CHECKOUT, ATHERIS)))},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    tried = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert tried, done.stderr[-3000:]
    record_property("inputs", int(tried[1]))


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_inputs_are_read(target):
    files = sorted((CHECKOUT / "tests" / "fuzz" / "corpora" / target).iterdir())
    assert files
    for file in files:
        TARGETS[target](file.read_bytes())
