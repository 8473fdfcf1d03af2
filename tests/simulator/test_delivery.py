"""The delivery of responses: whole or in pieces, encoded, slow, held, and broken in every way."""

import asyncio
import gzip
import json
import socket
import ssl
import time

import brotli
import httpx
import pytest

from tests.support.running import PROVIDER_KEYS, wait_for

BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
STREAM = {**BODY, "stream": True}
PATH = "/v1/chat/completions"
KEY = {"authorization": f"Bearer {PROVIDER_KEYS['openai']}"}
TEXT = "Hello from the simulator: nobody thought about this answer."


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(request, simulator, context):
    with httpx.Client(
        base_url=simulator.url,
        verify=context,
        trust_env=False,
        headers=KEY,
        http1=request.param == "HTTP/1.1",
        http2=request.param == "HTTP/2",
        timeout=60,
    ) as client:
        client.protocol = request.param
        yield client


def ask(client, behaviour="", body=BODY, **headers):
    return client.post(PATH, json=body, headers={"x-simulator": behaviour, **headers})


def text_of(raw: str) -> str:
    """The text in a stream of server-sent events."""
    lines = [line.removeprefix("data:").strip() for line in raw.splitlines() if line.startswith("data:")]
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_both_protocols_are_served(client):
    assert ask(client).http_version == client.protocol


def test_a_response_is_whole_under_every_harmless_behaviour(client):
    for behaviour in ("", "gzip", "br", "split=7", "gzip, split=7", "headers-delay=0.01"):
        response = ask(client, behaviour)
        assert response.json()["choices"][0]["message"]["content"] == TEXT, behaviour


@pytest.mark.parametrize(
    "behaviour",
    ["", "gzip", "br", "split=3", "crlf", "tight", "comments", "no-done", "pace=0.001", "br, crlf, split=5"],
)
def test_a_stream_is_whole_under_every_harmless_behaviour(client, behaviour):
    response = ask(client, behaviour, STREAM)
    assert text_of(response.text) == TEXT
    assert ("[DONE]" in response.text) == (behaviour != "no-done")


def test_content_encodings_can_be_decoded(client):
    for name, decode in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": name}) as response:
            assert response.headers["content-encoding"] == name
            assert text_of(decode(b"".join(response.iter_raw())).decode()) == TEXT


def test_sizes_and_events_are_as_asked(client):
    assert len(ask(client, "size=100KiB").json()["choices"][0]["message"]["content"]) == 102400
    assert ask(client, "events=20", STREAM).text.count('"content":') == 21
    big = ask(client, "size=3MiB, unicode", STREAM)
    assert len(text_of(big.text).encode()) == 3 << 20


def test_large_requests_arrive_whole(client, simulator):
    body = {**BODY, "user": "x" * (3 << 20)}
    assert ask(client, body=body).status_code == 200
    assert simulator.seen[-1].size > 3 << 20


def test_a_gate_holds_the_second_event_until_it_is_opened(client, simulator):
    with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": "gate"}) as response:
        pieces = response.iter_text()
        first = next(pieces)
        wait_for(lambda: simulator.simulator.gate.waiting == 1, "the stream to wait")
        assert first.count("data:") == 1
        assert simulator.seen[-1].events == 1
        with httpx.Client(base_url=simulator.url, verify=client._transport._pool._ssl_context) as other:
            assert other.post("/__simulator__/open").json() == {"opened": 1}
        assert "[DONE]" in "".join(pieces)


def test_a_pace_spreads_the_events(client):
    with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": "events=5, pace=0.02"}) as response:
        times = [time.monotonic() for _ in response.iter_raw()]
    assert times[-1] - times[0] > 0.05


FAULTS = [
    ("reset-after=0", BODY),
    ("reset-after=1", BODY),
    ("reset-after=3", STREAM),
    ("truncate-after=0", BODY),
    ("truncate-after=1", BODY),
    ("truncate-after=3", STREAM),
    ("rubbish", BODY),
    ("rubbish", STREAM),
]


@pytest.mark.parametrize(("behaviour", "body"), FAULTS)
def test_a_broken_response_is_seen_as_broken(client, simulator, behaviour, body):
    with pytest.raises(httpx.TransportError):
        ask(client, behaviour, body)
    assert wait_for(lambda: simulator.seen[-1].outcome, "the outcome") == "fault"
    assert ask(client).status_code == 200


def test_what_was_sent_before_a_fault_arrives(client):
    for behaviour in ("reset-after=4", "truncate-after=4"):
        arrived = ""
        with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": behaviour}) as response:
            try:
                for piece in response.iter_text():
                    arrived += piece
            except httpx.TransportError:
                pass
            else:
                raise AssertionError("the stream ended well")
        assert arrived.count("data:") == 4, behaviour


def test_a_stall_keeps_the_connection_and_sends_no_more(client):
    with (
        client.stream("POST", PATH, json=STREAM, headers={"x-simulator": "stall-after=2"}, timeout=2) as response,
        pytest.raises(httpx.ReadTimeout),
    ):
        response.read()


def test_a_garbled_event_is_one_among_good_ones(client):
    response = ask(client, "garble-after=2", STREAM)
    assert '{"unfinished": [1, \n' in response.text
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_disconnected_client_is_noticed_at_once(client, simulator):
    with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": "events=500, pace=0.01"}) as response:
        next(response.iter_raw())
    client.close()
    assert wait_for(lambda: simulator.seen[-1].outcome, "the outcome") == "client_gone"
    assert simulator.seen[-1].events < 500


def test_models_and_scripts_set_behaviours_too(client, simulator):
    assert ask(client, body={**BODY, "model": "sim-fail-429"}).status_code == 429
    simulator.simulator.script.add("fail=503", times=2)
    assert [ask(client).status_code for _ in range(3)] == [503, 503, 200]
    assert ask(client, "fail=429, retry-after=2").headers["retry-after"] == "2"


def test_many_streams_share_one_connection(simulator, context):
    async def all_at_once():
        async with httpx.AsyncClient(
            base_url=simulator.url, verify=context, http1=False, http2=True, headers=KEY
        ) as client:
            return await asyncio.gather(
                *(client.post(PATH, json=STREAM, headers={"x-simulator": "size=100KiB"}) for _ in range(20))
            )

    responses = asyncio.run(all_at_once())
    assert {len(text_of(response.text)) for response in responses} == {102400}
    assert len({seen.connection for seen in simulator.seen}) == 1


def raw_exchange(simulator, context, sent: bytes) -> bytes:
    """Send these bytes on a new connection; return all data until it is closed."""
    with (
        socket.create_connection(("127.0.0.1", simulator.simulator.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(sent)
        received = b""
        try:
            while piece := secured.recv(65536):
                received += piece
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
    return received


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"nonsense\r\n\r\n", b"400", b""),
        (HEAD + b"Host: other\r\n\r\n", b"400", b"Host"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"400", b""),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", b"401", b"Incorrect API key"),
        (HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"401", b"Incorrect"),
    ],
)
def test_malformed_http_gets_a_response_and_the_connection_closes(simulator, context, sent, status, words):
    response = raw_exchange(simulator, context, sent)
    assert response.split()[1] == status
    assert words in response


def test_pipelined_requests_get_responses_in_order(simulator, context):
    key = PROVIDER_KEYS["openai"].encode()
    body = json.dumps(STREAM).encode()
    one = b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n" % (
        PATH.encode(),
        key,
        len(body),
    )
    response = raw_exchange(simulator, context, (one + b"\r\n" + body) * 2 + one + b"Connection: close\r\n\r\n" + body)
    assert response.count(b"HTTP/1.1 200") == 3
    assert response.count(b"[DONE]") == 3


def test_expect_100_continue_gets_a_response(simulator, context):
    response = raw_exchange(
        simulator, context, HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert response.split()[1] in (b"100", b"401")


def test_half_of_a_cut_event_arrives(client):
    def arrived(behaviour) -> bytes:
        found = b""
        with client.stream("POST", PATH, json=STREAM, headers={"x-simulator": behaviour}) as response:
            try:
                for piece in response.iter_raw():
                    found += piece
            except httpx.TransportError:
                return found
        raise AssertionError("the stream ended well")

    three, four, cut = (arrived(f"truncate-after={words}") for words in ("3", "4", "4, cut"))
    assert len(three) < len(cut) < len(four)
    assert not cut.endswith(b"\n\n")
