"""A request does not get more expensive unnoticed: its instructions of Python are counted, not its time.

Their number is nearly the same in each run. On a busy machine it rises by some per cent, because timers run more often
for each request.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.instructions import CASES, count, instructions

pytestmark = pytest.mark.alone

MOST = 0.5
"""The highest ratio to mitmdump's instructions. In November 2026 it was 0.455."""


def test_a_request_takes_at_most_half_of_the_instructions_of_mitmdump():
    (case,) = (case for case in CASES if case.name == "gateway, 16 clients")
    mitmdump, wirekey = count(case, requests=96)
    ratio = instructions(wirekey) / instructions(mitmdump)
    most = "\n".join(f"{one.instructions:9.1f} {one.place} {one.name}" for one in wirekey[:25])
    assert ratio < MOST, f"{case.name}: {ratio:.2f} of mitmdump's instructions. Wirekey's functions with most:\n{most}"
    assert instructions(wirekey) > 10_000, "Wirekey did not serve the requests: the ratio shows nothing"
