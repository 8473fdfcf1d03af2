"""Hides packages that only the tests install. structlog imports them if they are there, which takes 5 MiB."""

import sys

for name in ("rich", "greenlet"):
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
