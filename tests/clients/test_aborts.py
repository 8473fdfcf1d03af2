"""A client that goes away in the middle of a stream: the provider must hear of it while the stream still runs."""

from __future__ import annotations

import pytest

from tests.clients.calls import LIBRARIES, SDKS, named
from tests.running import wait_for


@pytest.mark.parametrize(("language", "client", "provider"), named([*SDKS, *LIBRARIES]))
def test_an_abort_reaches_the_provider_while_its_stream_runs(stage, language, client, provider):
    stage.script("gate")  # after the first event the provider sends no other until the end of the test
    outcome = stage.program(language, "through").do(client, "stream", leave=True)
    assert outcome.left
    assert len(outcome.value) == 1
    (seen,) = stage.simulator.seen
    wait_for(lambda: seen.outcome, "the provider to notice")
    assert (seen.outcome, seen.events) == ("client_gone", 1)
    event = stage.proxy.finished_event(stage.began)
    assert (event["outcome"], event["provider"]) == ("client_cancelled", provider)
