"""R44: a provider's stream has an event that cannot be decoded, for a program with the SDK of another provider."""

from __future__ import annotations

import pytest

from tests.end_to_end.scripted_upstream import UPSTREAMS, Scripted, scripted_upstream
from tests.end_to_end.test_translation import CLIENTS
from tests.threats.conftest import beginning
from tests.translation.test_undecodable_events import FIRST, LAST, MIDDLE, stream_with

PAIRS = [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS if client != upstream]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with scripted_upstream(tmp_path_factory.mktemp("scripted")) as found:
        yield found


@pytest.fixture
def scripted(running) -> Scripted:
    running.began = beginning()
    return running


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_sdk_reads_an_event_with_half_a_surrogate_pair(scripted, client, upstream):
    scripted.streams(upstream, stream_with(upstream, lambda event: event.replace(MIDDLE.encode(), rb"\ud83d")))
    assert CLIENTS[client](*scripted.way).streamed(f"to-{upstream}") == FIRST + "\ufffd" + LAST
    event = scripted.wirekey.finished_event(scripted.began)
    assert (event["status"], event["outcome"]) == (200, "completed")
    assert event["input_tokens"] == 100


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_sdk_gets_an_error_for_an_event_that_is_no_json_and_so_does_the_audit(scripted, client, upstream):
    scripted.streams(upstream, stream_with(upstream, lambda _: b"upstream connect error"))
    program = CLIENTS[client](*scripted.way)
    with pytest.raises(program.error):
        program.streamed(f"to-{upstream}")
    event = scripted.wirekey.finished_event(scripted.began)
    assert (event["outcome"], event["policy_reason"]) == ("upstream_error", "unreadable_answer")
