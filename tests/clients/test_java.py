"""A single-file Java program with java.net.http, which sends no proxy credentials unless configured to."""

from __future__ import annotations

from tests.support.conversation import HERE, installed, run_behind_exec
from tests.support.running import PROVIDER_KEYS


def test_a_java_program_with_its_token_in_place_of_the_key_gets_response_and_stream(stage):
    said = run_behind_exec(stage.proxy, installed("java"), str(HERE / "java" / "Chat.java"), stage.token)
    assert said.returncode == 0, said.stderr
    plain, *events = said.stdout.splitlines()
    assert plain.startswith('200 {"')
    assert events[0].startswith("data: {")
    assert events[-1] == "data: [DONE]"
    assert [seen.outcome for seen in stage.simulator.seen] == ["completed", "completed"]
    for seen in stage.simulator.seen:
        assert (b"authorization", b"Bearer " + PROVIDER_KEYS["openai"].encode()) in seen.headers
        assert stage.token.encode() not in repr(seen.headers).encode()
    assert {event["agent_id"] for event in stage.proxy.finished_events(2, stage.began)} == {"alice"}
