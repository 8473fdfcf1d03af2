"""Schemas of other programs' files, in the environment that `.ci/run` makes of `kubernetes.lock`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


def checked_by(check: str, document: Any, *arguments: str) -> str:
    """Return what a Python program prints in that environment, whose standard input is the document as JSON."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache")
    python = cache / "wirekey-kubernetes/bin/python"
    if not python.exists():
        pytest.skip("the schemas are not installed. See .ci/run")
    done = subprocess.run(
        [python, "-c", check, *arguments], input=json.dumps(document), text=True, capture_output=True, check=True
    )
    return done.stdout
