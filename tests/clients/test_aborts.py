"""A client that goes away in the middle of a stream: the provider must hear of it while the stream still runs."""

from __future__ import annotations

import itertools

import pytest

from tests.clients.calls import LIBRARIES, SDKS, named
from tests.deliveries.paths import DELIVERIES
from tests.support.running import wait_for

CLIENTS = [
    (*client, delivery)
    for client, delivery in zip([*SDKS, *LIBRARIES], itertools.cycle(DELIVERIES.values()), strict=False)
]
"""Each client with one of the deliveries. tests/end_to_end/test_streams.py combines all of them with each format."""


@pytest.mark.parametrize(("language", "client", "provider", "delivery"), named(CLIENTS))
def test_an_abort_reaches_the_provider_while_its_stream_runs(stage, language, client, provider, delivery):
    stage.script(f"gate, {delivery}")  # after the first event the provider sends no other until the end of the test
    outcome = stage.program(language, "through").do(client, "stream", leave=True)
    assert outcome.left
    assert len(outcome.value) == 1
    (seen,) = stage.simulator.seen
    wait_for(lambda: seen.outcome, "the provider to notice")
    assert (seen.outcome, seen.events) == ("client_gone", 1)
    event = stage.proxy.finished_event(stage.began)
    assert (event["outcome"], event["provider"]) == ("client_cancelled", provider)
