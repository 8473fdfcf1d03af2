"""The newest version of mitmproxy that can be installed passes the tests of the wire layer.

It is downloaded, so it is not among the tests of `run.sh`. `.ci/run` runs it. If it passes, add the version to
`KNOWN_VERSIONS` in core/wire/install.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from mitmproxy import version

REQUIREMENT = "mitmproxy>=12.2.3,<13"
TESTS = ("attempts", "connection_pool", "direct_path", "early_responses", "held_responses", "large_requests", "stream")
RUN = (
    "import sys, pytest; from wirekey.core.wire import install; install.KNOWN_VERSIONS = ('12.',); "
    "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
)
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:")


def newest_version() -> str:
    """Return the version that pip would install."""
    command = [*PIP, "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: str = json.loads(done.stdout)["install"][0]["metadata"]["version"]
    return found


def test_the_newest_version_passes_the_tests_of_the_wire_layer(tmp_path):
    newest = newest_version()
    if newest == version.VERSION:
        return  # the whole suite runs with it
    subprocess.run([*PIP, "--target", str(tmp_path), f"mitmproxy=={newest}"], check=True)
    tests = [str(Path(__file__).with_name(f"test_{name}.py")) for name in TESTS]
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", RUN, *tests], capture_output=True, text=True, env=environ, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
