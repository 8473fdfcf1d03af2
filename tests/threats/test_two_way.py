"""THREATS S1 to S8, R9, R10 and B12 for streams in two directions, whose events are signed one by one."""

from __future__ import annotations

import contextlib
import struct
import time

import pytest

from tests.support.aws_signing import PATH as CONVERSE
from tests.support.aws_signing import ask, proxy, signed, signing_wirekey, simulator, written
from tests.support.event_stream import chunk_signature, date, frame
from tests.support.raw_client import RawClient
from tests.support.running import wait_for
from tests.support.signed_requests import HEADERS
from tests.support.two_way_client import ENDING, PREPARATION, TwoWayClient, asking, payload_of, stream_event
from tests.threats.conftest import beginning
from wirekey.core.signing.event_frames import FRAME_LIMIT
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD

__all__ = ["proxy", "simulator"]

CANARY = "canary-of-an-event-7f3a1c"


@pytest.fixture(autouse=True)
def began(simulator, proxy):
    simulator.forget()
    simulator.simulator.script.clear()
    proxy.began = beginning()


def events(client: TwoWayClient, *given: dict) -> list[bytes]:
    """Return these events signed one after the other, without sending them."""
    return [client.sign(payload_of(event)) for event in given]


def forged(client):
    return [frame(date(1e9) + chunk_signature(bytes(32)), payload_of(asking(CANARY)[1]))]


def changed(client):
    (event,) = events(client, *asking("hello")[:1])
    return [frame(event[12 : 12 + 67], payload_of(asking(CANARY)[1]))]


def sent_twice(client):
    (event,) = events(client, *asking("hello")[:1])
    return [event, event]


def in_another_order(client):
    return events(client, *asking("hello"))[::-1]


def left_out(client):
    return events(client, *asking("hello"))[1:]


def unsigned(client):
    return [payload_of(asking(CANARY)[0])]


def of_a_guessed_secret(client):
    client.secret = "guessed" * 6
    return events(client, *asking("hello"))


def of_an_hour_ago(client):
    return [client.sign(payload_of(asking("hello")[0]), at=time.time() - 3600)]


def too_long(client):
    return [struct.pack(">II", FRAME_LIMIT + 1, 67) + bytes(4), bytes(100)]


def with_another_header(client):
    (event,) = events(client, *asking("hello")[:1])
    return [frame(event[12 : 12 + 67] + b"\x01x\x00", event[12 + 67 : -4])]


ATTACKS = [
    *(forged, changed, sent_twice, in_another_order, left_out, unsigned, of_a_guessed_secret, of_an_hour_ago),
    *(too_long, with_another_header),
]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)


@each_attack
def test_S1_an_event_that_does_not_verify_ends_the_stream_with_awss_exception(proxy, simulator, attack):
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("first"))
        client.until_heard("usageEvent")
        received = simulator.seen[0].received_events
        for piece in attack(client):
            client.send(piece)
        client.until_ended()
        kind, message = client.exception
        assert kind == "validationException"
        assert CANARY not in message
    passed = 1 if attack is sent_twice else 0
    wait_for(lambda: simulator.seen[0].outcome, "the provider to notice")
    assert simulator.seen[0].received_events <= received + passed
    assert simulator.seen[0].outcome == "client_gone"
    event = stream_event(proxy)
    assert (event["outcome"], event["policy_reason"]) == ("interrupted", "signature_refused")
    assert CANARY not in proxy.output.read_text()


def test_S1_a_forged_first_event_is_refused_with_the_status_of_aws(proxy, simulator):
    simulator.simulator.script.add("headers-delay=60")
    with TwoWayClient(proxy) as client:
        client.begin()
        client.send(forged(client)[0])
        client.until_ended()
        assert client.status == 403
        assert b"does not match" in client.body or b"The time of an event" in client.body
    assert not any(seen.received_events for seen in simulator.seen)  # the head may have come, and its reset
    assert proxy.finished_event(proxy.began)["policy_reason"] == "signature_refused"


def test_S2_a_whole_stream_cannot_be_sent_again(proxy, simulator):
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"), *ENDING)
        client.end()
        client.until_ended()
        with TwoWayClient(proxy, pair=("AKIAOTHER", "x")) as thief:
            thief.head = client.head
            thief.begin()
            thief.until_ended()
            assert thief.status == 403
            assert b"used before" in thief.body
    assert len(simulator.seen) == 1


def test_S5_events_stand_for_the_body_of_no_other_operation(proxy, simulator):
    """The head would verify, and the body would be anybody's."""
    head = signed(proxy, CONVERSE, headers=HEADERS | {"x-amz-content-sha256": EVENTS_PAYLOAD})
    answer = ask(proxy, written(head))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert "Sign the whole body" in answer.message
    assert answer.headers["content-type"] == "application/json"
    assert not simulator.seen
    event = stream_event(proxy)
    assert (event["outcome"], event["policy_result"], event["agent_id"]) == ("denied", "deny", "alice")


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
def test_S5_a_stream_whose_events_are_not_chained_to_its_head_is_refused(proxy, simulator, payload):
    with TwoWayClient(proxy, headers={"x-amz-content-sha256": payload}) as client:
        client.begin()
        client.until_ended()
        assert client.status == 403
    assert not simulator.seen


def test_S8_a_request_that_ends_within_an_event_is_not_ended_at_the_provider(proxy, simulator):
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("usageEvent")
        client.send(events(client, *ENDING)[0][:50], end=True)
        client.until_ended()
        assert client.exception == ("validationException", "The request ended within an event.")
    wait_for(lambda: simulator.seen[0].outcome == "client_gone", "the provider to notice")


def test_R10_the_stream_of_a_revoked_agent_ends_with_the_providers_error(proxy, simulator):
    proxy.add_agent("carol")
    pair = proxy.agents.pair("carol")
    client = wait_for(lambda: begun(proxy, pair), "carol's pair to be known")
    with client:
        client.until_heard("usageEvent")
        proxy.agents.revoke("carol")
        client.until_ended()
        kind, message = client.exception
        assert (kind, "revoked" in message) == ("validationException", True)
    event = stream_event(proxy)
    assert (event["outcome"], event["policy_reason"], event["agent_id"]) == ("interrupted", "agent_revoked", "carol")


def begun(proxy, pair) -> TwoWayClient | None:
    """Begin a conversation. Return None if the pair is not known yet."""
    client = TwoWayClient(proxy, pair=(pair.access_key, pair.secret.reveal()))
    client.begin()
    client.tell(*PREPARATION, *asking("hello"))
    client.http.until(lambda: client.stream in client.http.statuses)
    if client.status == 200:
        return client
    client.raw.socket.close()
    proxy.began = beginning()
    return None


def test_R10_a_stream_ends_when_its_token_expires(proxy):
    """Any other call may end what it began. This one could go on for hours."""
    client = wait_for(lambda: begun_with_a_short_token(proxy), "a token to be known before it expires")
    with client:
        client.until_ended()
        kind, message = client.exception
        assert (kind, "expired" in message) == ("validationException", True)
    event = stream_event(proxy)
    assert (event["outcome"], event["policy_reason"], event["agent_id"]) == ("interrupted", "agent_revoked", "alice")


def begun_with_a_short_token(proxy) -> TwoWayClient | None:
    """Begin a conversation with a token of a few seconds. Return None if it expires before it is known."""
    proxy.began = beginning()
    lifetime = 3.0
    token = proxy.agents.issue_token("alice", proxy.began, lifetime)
    until = time.monotonic() + lifetime
    while time.monotonic() < until:
        with contextlib.suppress(AssertionError):
            client = TwoWayClient(proxy, token=token)
            client.begin()
            client.tell(*PREPARATION, *asking("hello"))
            client.until_heard("usageEvent")
            return client
    return None


def test_a_stream_is_idle_once_neither_side_sends(tmp_path, simulator):
    with signing_wirekey(tmp_path, simulator, timeouts={"idle": 1}) as impatient, TwoWayClient(impatient) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_ended()
        assert client.exception[0] == "modelStreamErrorException"
        event = stream_event(impatient)
        assert (event["outcome"], event["policy_reason"]) == ("timeout", "upstream_timeout")


def test_B12_no_more_is_held_than_the_provider_reads(proxy, simulator):
    """The client's window closes, instead of Wirekey's memory filling."""
    simulator.simulator.script.add("unread")
    with TwoWayClient(proxy) as client:
        client.begin()
        client.tell(*PREPARATION, *asking("hello"))
        client.until_heard("usageEvent")
        sound = {"audioInput": {"promptName": "p", "contentName": "c", "content": "A" * 8000}}
        sent = 0

        def has_room():
            return client.http.state.local_flow_control_window(client.stream) > 20_000

        while sent < 1000:
            if not has_room():
                break
            client.tell(sound)
            sent += 1
        assert sent * 8000 < 6 << 20


def test_drain_waits_for_the_answer_and_not_for_the_stream(tmp_path, simulator):
    with signing_wirekey(tmp_path, simulator, timeouts={"drain": 600}) as proxy:
        simulator.simulator.script.add("gate")
        with TwoWayClient(proxy) as client:
            client.begin()
            client.tell(*PREPARATION, *asking("hello"))
            client.until_heard("completionStart")
            proxy.process.terminate()
            wait_for(lambda: not accepts(proxy), "the drain to begin")
            wait_for(lambda: simulator.simulator.gate.waiting, "the answer to wait")
            simulator.loop.call_soon_threadsafe(simulator.simulator.gate.open)
            client.until_ended()
            assert "usageEvent" in [name for name, _ in client.heard]
            assert client.exception[0] == "serviceUnavailableException"
        wait_for(lambda: proxy.process.poll() is not None, "Wirekey to end")


def accepts(proxy) -> bool:
    """Return whether Wirekey accepts new connections."""
    try:
        RawClient(proxy.running.forward).socket.close()
    except OSError:
        return False
    return True
