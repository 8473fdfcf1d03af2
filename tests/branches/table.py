"""The packages that touch a secret, the tests that run all of their branches, and what they do not run yet."""

from __future__ import annotations

PACKAGES = ("core.secret", "core.credentials", "core.identity", "core.egress", "features.jwt")
"""Packages of wirekey, each with all that is in it."""
TESTS = ("tests/test_secret.py", "tests/credentials", "tests/identity", "tests/egress", "tests/features/jwt")
"""Tests that start no Wirekey. What only a running one does, other tests show: it has no number here."""
LEFT_OUT = ("tests/credentials/test_scrub.py::test_a_chunk_costs_a_few_microseconds",)
"""Tests that measure time, which coverage.py takes itself."""
OPEN: dict[str, int] = {}
"""File → lines and branches that no test of `TESTS` runs. What a running Wirekey runs is not measured. Lower a number
when a test runs more. Each file that is not here has every line and branch run."""
