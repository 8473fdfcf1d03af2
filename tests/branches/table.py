"""The packages that touch a secret, the tests that run all of their branches, and what they do not run yet."""

from __future__ import annotations

PACKAGES = ("core.secret", "core.credentials", "core.identity", "core.egress", "features.jwt")
"""Packages of wirekey, each with all that is in it."""
TESTS = ("tests/test_secret.py", "tests/credentials", "tests/identity", "tests/egress", "tests/features/jwt")
"""Tests that start no Wirekey. What only a running one does, other tests show: it has no number here."""
LEFT_OUT = ("tests/credentials/test_scrub.py::test_a_chunk_costs_a_few_microseconds",)
"""Tests that measure time, which coverage.py takes itself."""
OPEN: dict[str, int] = {
    "core/credentials/agent_tokens.py": 5,
    "core/credentials/aws_access.py": 6,
    "core/credentials/aws_source.py": 4,
    "core/credentials/client_supplied.py": 1,
    "core/credentials/google/default_credentials.py": 7,
    "core/credentials/google/token_cache.py": 8,
    "core/credentials/pool.py": 1,
    "core/credentials/response_head.py": 1,
    "core/egress/addresses.py": 2,
    "core/egress/hosts.py": 2,
    "core/egress/http_client.py": 7,
    "core/egress/upstream_proxy.py": 7,
}
"""File → lines and branches that no test of `TESTS` runs. What a running Wirekey runs is not measured. Lower a number
when a test runs more. Each file that is not here has every line and branch run."""
