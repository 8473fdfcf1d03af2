"""Prepares a proxy that is measured.

It hides packages that only the tests install: structlog imports them if they are there, which takes 5 MiB. If
WIREKEY_COUNTS names a file, the proxy counts the instructions that it runs (`tests/benchmarks/instructions.py`).
"""

import os
import sys
from pathlib import Path

for name in ("rich", "greenlet"):
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails

if counts := os.environ.get("WIREKEY_COUNTS"):
    sys.path.append(str(Path(__file__).resolve().parents[3]))  # a proxy that is measured has no folder of tests
    from tests.benchmarks.counting import count_when_told

    count_when_told(counts)
