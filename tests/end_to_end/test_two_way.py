"""Bedrock's two-way operation: events stream in both directions, each of the client's verified and signed again."""

from __future__ import annotations

import base64
import time

import pytest

from tests.support.aws_signing import REAL, signing_wirekey, simulator
from tests.support.raw_client import RawClient
from tests.support.running import PATIENCE, wait_for, wirekey_behind
from tests.support.signed_requests import HOST
from tests.support.two_way_client import ENDING, MODEL, PATH, PREPARATION, TwoWayClient, asking, payload_of, recorded
from tests.threats.conftest import beginning

__all__ = ["simulator"]

CANARY = "canary-of-a-conversation-5b21e9"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    routes = [{"match": "amazon.voice-v1:0", "model": MODEL}]
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), simulator, listen=listen, routes=routes) as running:
        yield running


@pytest.fixture(autouse=True)
def began(simulator, proxy):
    simulator.forget()
    simulator.simulator.script.clear()
    proxy.began = beginning()


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
def test_the_model_answers_each_turn_before_the_request_goes_on(proxy, simulator, gateway):
    with TwoWayClient(proxy, gateway=gateway) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("usageEvent")
        assert client.status == 200
        client.tell(*asking("and again"))
        client.until_heard("usageEvent", 2)
        client.tell(*ENDING)
        client.end()
        client.until_ended()
        said = "".join(values["content"] for name, values in client.heard if name == "textOutput")
        assert said == "You said: helloYou said: and again"
        assert client.heard[-1][0] == "completionEnd"
    (seen,) = simulator.seen
    assert (seen.protocol, seen.received_events, seen.outcome) == ("h2", 10, "completed")
    assert REAL[0] in str(seen.headers)
    assert proxy.pair.access_key not in str(seen.headers)
    event, turns = recorded(proxy, 2)
    shown = ("agent_id", "model", "outcome", "credential")
    for each in (event, *turns):
        assert [each[name] for name in shown] == ["alice", MODEL, "completed", "bedrock/aws"]
    assert (event["operation"], event["status"]) == ("invoke-with-bidirectional-stream", 200)
    assert [turn["finish_reason"] for turn in turns] == ["END_TURN", "END_TURN"]
    assert event["credential"] == "bedrock/aws"
    assert event["request_bytes"] == seen.size
    assert event["response_bytes"] == len(client.body)


def test_tokens_are_recorded_by_modality_with_their_cost(proxy):
    with TwoWayClient(proxy) as client:
        client.begin()
        sound = base64.b64encode(bytes(6400)).decode()
        names = {"promptName": "p", "contentName": "c"}
        client.tell(
            {"sessionStart": {}},
            {"promptStart": {"promptName": "p", "audioOutputConfiguration": {}}},
            {"contentStart": {**names, "role": "USER", "type": "AUDIO"}},
            {"audioInput": {**names, "content": sound}},
            {"contentEnd": names},
            *asking("hello"),
            *ENDING,
        )
        client.end()
        client.until_ended()
        usage = [values for name, values in client.heard if name == "usageEvent"][-1]
    stream, turns = recorded(proxy, 2)
    assert (stream["input_tokens"], stream["output_tokens"], stream["cost_usd"]) == (None, None, None)
    first, second = turns
    assert (first["audio_input_tokens"], second["audio_input_tokens"]) == (10, 0)
    assert first["input_tokens"] + second["input_tokens"] == usage["totalInputTokens"]
    assert first["output_tokens"] + second["output_tokens"] == usage["totalOutputTokens"]
    for turn in turns:
        assert turn["output_tokens"] > turn["audio_output_tokens"] > 0
        text_only = (turn["input_tokens"] * 0.06 + turn["output_tokens"] * 0.24) / 1e6
        assert turn["cost_usd"] > 10 * text_only


DELIVERIES = ["", "at-once", "bytewise", "pauses", "split=7", "split=1000", "hints", "goaway", "pace=0.002"]


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery or "usual")
def test_a_conversation_is_the_same_in_each_delivery(proxy, simulator, delivery, gateway):
    """Also when the client cuts its events anywhere, as the delivery says."""
    simulator.simulator.script.add(delivery)
    with TwoWayClient(proxy, gateway=gateway) as client:
        client.begin()
        events = [*PREPARATION, *asking("hello"), *ENDING]
        request = b"".join([*(client.sign(payload_of(event)) for event in events), client.sign(b"")])
        size = {"bytewise": 31, "split=7": 7, "split=1000": 1000}.get(delivery, len(request))
        for start in range(0, len(request), size):
            client.send(request[start : start + size], end=start + size >= len(request))
        client.until_ended()
        assert [name for name, _ in client.heard] == [
            *("completionStart", "contentStart", "textOutput", "textOutput", "textOutput", "contentEnd"),
            *("usageEvent", "completionEnd"),
        ]
    assert simulator.seen[0].received_events == len(events)
    stream, (turn,) = recorded(proxy)
    assert (stream["outcome"], turn["outcome"], turn["finish_reason"]) == ("completed", "completed", "END_TURN")


def test_conversations_on_one_connection_do_not_wait_for_each_other(proxy, simulator):
    with TwoWayClient(proxy) as first:
        first.begin()
        first.tell(*PREPARATION, *asking("hello"))
        first.until_heard("usageEvent")
        with TwoWayClient(proxy) as other:
            other.http, held = first.http, other.http
            other.begin()
            other.tell(*PREPARATION, *asking("hi"), *ENDING)
            other.end()
            other.until_ended()
            other.http = held
        first.tell(*asking("still there"))
        first.until_heard("usageEvent", 2)
    assert len(simulator.seen) == 2


def test_nothing_that_is_said_is_stored_or_logged(proxy):
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking(CANARY), *ENDING)
        client.end()
        client.until_ended()
        assert CANARY in "".join(values.get("content", "") for _, values in client.heard)
    recorded(proxy)
    files = [file for file in proxy.folder.rglob("*") if file.is_file()]
    assert any(file.name == "audit.db" for file in files)
    hidden = [CANARY.encode(), base64.b64encode(CANARY.encode()), REAL[1].encode()]
    assert [file for file in files if any(word in file.read_bytes() for word in hidden)] == []


def test_a_token_identifies_the_agent_and_signatures_of_any_pair_are_replaced(proxy, simulator):
    with TwoWayClient(proxy, token=proxy.token, pair=("AKIAIOSFODNN7EXAMPLE", "of-someone-else")) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"), *ENDING)
        client.end()
        client.until_ended()
        assert client.heard[-1][0] == "completionEnd"
    assert "AKIAIOSFODNN7EXAMPLE" not in str(simulator.seen[0].headers)
    stream, (turn,) = recorded(proxy)
    assert (stream["agent_id"], turn["agent_id"]) == ("alice", "alice")


def test_a_route_replaces_the_model(proxy, simulator):
    with TwoWayClient(proxy, path=PATH.replace("amazon.nova-sonic", "amazon.voice")) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"), *ENDING)
        client.end()
        client.until_ended()
        assert client.heard[-1][0] == "completionEnd"
    assert simulator.seen[0].target == PATH
    stream, (turn,) = recorded(proxy)
    for event in (stream, turn):
        assert (event["requested_model"], event["model"]) == ("amazon.voice-v1:0", MODEL)


def test_the_providers_exception_reaches_the_client_and_the_audit(proxy, simulator):
    simulator.simulator.script.add("error-after=3")
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_ended()
        assert client.exception[0] == "throttlingException"
    event, (turn,) = recorded(proxy)
    assert (event["outcome"], event["policy_reason"]) == ("upstream_error", "throttlingException")
    assert (turn["outcome"], turn["input_tokens"]) == ("upstream_error", None)


@pytest.mark.parametrize("fault", ["reset-after=3", "truncate-after=3", "reset-after=3, cut"])
def test_a_response_that_breaks_off_ends_the_request(proxy, simulator, fault):
    simulator.simulator.script.add(fault)
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_ended()
    stream, (turn,) = recorded(proxy)
    assert stream["outcome"] in ("upstream_reset", "truncated")
    assert turn["outcome"] == stream["outcome"]


def test_a_client_that_leaves_is_gone_at_the_provider_at_once(proxy, simulator):
    simulator.simulator.script.add("gate")
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("completionStart")
    wait_for(lambda: simulator.seen[0].outcome == "client_gone", "the provider to notice")
    stream, (turn,) = recorded(proxy)
    assert (stream["outcome"], turn["outcome"]) == ("client_cancelled", "client_cancelled")


def test_a_failure_of_the_provider_before_the_response_is_its_own(proxy, simulator):
    simulator.simulator.script.add("fail=429")
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION)
        client.until_ended()
        assert client.status == 429
    assert proxy.finished_event(proxy.began)["outcome"] == "upstream_error"


def test_http1_is_refused_with_the_reason(proxy, simulator):
    with RawClient(proxy.running.forward) as client:
        assert client.connect(f"{HOST}:443", "alice", proxy.token).status == 200
        client.start_tls(proxy.root, HOST)
        client.send(f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answer = client.read_response()
    assert (answer.status, "HTTP/2" in answer.message) == (400, True)
    assert proxy.finished_event(proxy.began)["policy_reason"].startswith("http2_required")
    assert not simulator.seen


TURN_POLICY = """package wirekey.authz

allow := true

deny contains "no turns today" if { input.operation == "realtime.response"; input.agent.role == "silent" }
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory, simulator):
    """A Wirekey that limits what turns cost, and by a policy who may have any."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "policies").mkdir()
    (folder / "policies" / "policy.rego").write_text(TURN_POLICY)
    quotas = [{"name": "spent", "per": "agent", "match": {"role": "spent"}, "usd_per_day": 0.0000002}]
    with signing_wirekey(folder, simulator, policy={"path": str(folder / "policies")}, quotas=quotas) as running:
        yield running


def pair_of(running, role: str) -> tuple[str, str]:
    """The key pair of a new agent with this role, once it is known."""
    name = f"{role}-{time.time_ns()}"
    running.add_agent(name, role=role)
    found = running.agents.pair(name)
    pair = (found.access_key, found.secret.reveal())

    def is_known() -> bool:
        with TwoWayClient(running, pair=pair) as client:
            client.begin()
            client.http.until(lambda: client.stream in client.http.statuses)
            client.end()
            client.until_ended()
            return client.status == 200

    wait_for(is_known, "the agent to be known")
    running.began = beginning()
    return pair


def test_an_exhausted_budget_refuses_the_next_turn(judged, simulator):
    pair = pair_of(judged, "spent")
    simulator.forget()
    with TwoWayClient(judged, pair=pair) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("usageEvent")
        client.tell(*asking("and again"))
        client.until_ended()
        kind, message = client.exception
        assert (kind, "spent" in message) == ("throttlingException", True)
        assert CANARY not in message
    stream, turns = recorded(judged, 2)
    assert (stream["outcome"], stream["policy_reason"]) == ("interrupted", "insufficient_quota")
    assert [turn["outcome"] for turn in turns] == ["completed", "denied"]
    assert turns[1]["policy_reason"].startswith("insufficient_quota")
    assert turns[1]["input_tokens"] is None
    assert simulator.seen[0].received_events == 5  # none of the second turn


def test_a_stream_that_has_used_its_budget_up_may_end(judged):
    with TwoWayClient(judged, pair=pair_of(judged, "spent")) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("usageEvent")
        client.tell(*ENDING)
        client.end()
        client.until_ended()
        assert client.heard[-1][0] == "completionEnd"
    stream, (turn,) = recorded(judged)
    assert (stream["outcome"], turn["outcome"]) == ("completed", "completed")


def test_an_answer_that_nobody_asked_for_ends_the_stream_once_the_budget_is_exhausted(judged):
    with TwoWayClient(judged, pair=pair_of(judged, "spent")) as client:
        client.begin()
        events = [*PREPARATION, *asking("hello"), *asking("and")]
        client.send(b"".join(client.sign(payload_of(event)) for event in events))
        client.until_ended()
        assert client.exception[0] == "throttlingException"
        assert [name for name, _ in client.heard].count("usageEvent") == 2
    stream, turns = recorded(judged, 2)
    assert (stream["outcome"], stream["policy_reason"]) == ("interrupted", "insufficient_quota")
    assert [turn["outcome"] for turn in turns] == ["completed", "completed"]


def test_a_turn_that_the_policy_denies_reaches_no_model(judged, simulator):
    pair = pair_of(judged, "silent")
    simulator.forget()
    with TwoWayClient(judged, pair=pair) as client:
        client.begin()
        client.http.until(lambda: client.stream in client.http.statuses)
        client.tell(*PREPARATION, *asking("hello"))
        client.until_ended()
        assert client.exception == ("validationException", "no turns today")
    stream, (turn,) = recorded(judged)
    assert (stream["outcome"], turn["outcome"], turn["status"]) == ("interrupted", "denied", 403)
    assert simulator.seen[0].received_events == 2


def test_after_a_kill_the_stream_and_its_turn_are_in_the_record(tmp_path, simulator):
    simulator.simulator.script.add("gate")
    with signing_wirekey(tmp_path, simulator) as killed:
        with TwoWayClient(killed) as client:
            client.begin()
            client.tell(*PREPARATION, *asking("hello"))
            client.until_heard("completionStart")
            killed.process.kill()
            killed.process.wait(PATIENCE)
        killed.start()
        stream, (turn,) = recorded(killed)
    assert (stream["outcome"], turn["outcome"]) == ("interrupted", "interrupted")


def test_answers_that_nobody_asked_for_are_recorded_as_turns(proxy):
    """Two inputs are sent before the first answer: the second answer belongs to no turn that has begun."""
    with TwoWayClient(proxy) as client:
        client.begin()
        events = [*PREPARATION, *asking("hello"), *asking("and"), *ENDING]
        client.send(b"".join([*(client.sign(payload_of(event)) for event in events), client.sign(b"")]), end=True)
        client.until_ended()
        usage = [values for name, values in client.heard if name == "usageEvent"][-1]
    _, turns = recorded(proxy, 2)
    assert [turn["outcome"] for turn in turns] == ["completed", "completed"]
    assert sum(turn["input_tokens"] for turn in turns) == usage["totalInputTokens"]


def test_input_that_is_not_answered_is_a_turn_of_its_own(proxy):
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("Be brief.", role="SYSTEM"), *ENDING)
        client.end()
        client.until_ended()
    stream, (turn,) = recorded(proxy)
    assert (stream["outcome"], turn["outcome"], turn["finish_reason"]) == ("completed", "client_cancelled", None)


POLICY = """package wirekey.authz

allow := true

max_tokens := 7 if input.agent.role == "thrifty"
"""


def test_calls_that_cannot_be_signed_or_capped_are_refused(tmp_path, simulator):
    """AWS accepts no API key for this operation, and Wirekey changes no event."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "policy.rego").write_text(POLICY)
    with wirekey_behind(tmp_path, simulator, policy={"path": str(tmp_path / "policies")}) as limited:
        for agent, role, status, code in (
            ("alice", "engineer", 503, "no_provider_key"),
            ("bob", "thrifty", 403, "cannot_cap"),
        ):
            limited.add_agent(agent, role=role)
            limited.began = beginning()
            pair = limited.agents.pair(agent)
            wait_for(lambda pair=pair: knows(limited, pair), "the agent to be known")
            limited.began = beginning()
            with TwoWayClient(limited, pair=(pair.access_key, pair.secret.reveal())) as client:
                client.begin()
                client.until_ended()
                assert client.status == status
            event = limited.finished_event(limited.began)
            assert (event["outcome"], event["policy_reason"].partition(":")[0]) == ("denied", code)
    assert not simulator.seen


def knows(proxy, pair) -> bool:
    """Return whether Wirekey knows the pair of an agent."""
    with TwoWayClient(proxy, pair=(pair.access_key, pair.secret.reveal())) as client:
        client.begin()
        client.until_ended()
        return b"invalid" not in client.body
