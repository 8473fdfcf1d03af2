"""Whatever the upstream does: what the SDK raises, what the audit says, and that the next call goes well."""

from __future__ import annotations

import contextlib
import ssl

import httpx
import openai
import pytest

from tests.support.load import chat, now, tunnel
from tests.support.raw_upstream import RawUpstream, endless_head, saying, silence
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind

QUICK = {"connect": 2, "first_byte": 2, "idle": 2}
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    running = Wirekey(folder, behind(simulator, timeouts=QUICK), environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    yield running
    running.stop()
    left = [event for event in running.events() if event["outcome"] in (None, "interrupted")]
    assert not left, "a call was left without an outcome"


@pytest.fixture
def sdk(proxy):
    context = ssl.create_default_context(cafile=proxy.certs / "bundle.pem")
    transport = httpx.Client(proxy=proxy.proxy_url("alice", proxy.token), verify=context, timeout=60)
    with openai.OpenAI(api_key="placeholder", max_retries=0, http_client=transport) as client:
        yield client


@pytest.fixture
def token_client(proxy):
    with tunnel(proxy, proxy.token) as client:
        yield client


def call(sdk: openai.OpenAI, model: str, *, stream: bool) -> str:
    """Return the text of a response that is read to its end."""
    answer = sdk.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
    if not stream:
        return answer.choices[0].message.content
    return "".join(event.choices[0].delta.content or "" for event in answer if event.choices)


BEFORE_IT_ANSWERED = "The provider closed the connection before it responded."
NO_HTTP = "The provider's response is not valid HTTP."


@pytest.mark.parametrize(
    ("model", "stream", "raised", "words", "recorded"),
    [
        ("sim-truncate-0", False, openai.InternalServerError, BEFORE_IT_ANSWERED, ("upstream_reset", 502)),
        ("sim-rubbish", False, openai.InternalServerError, NO_HTTP, ("upstream_error", 502)),
        ("sim-rubbish", True, openai.InternalServerError, NO_HTTP, ("upstream_error", 502)),
        ("sim-truncate-1", False, openai.APIConnectionError, "", ("upstream_reset", 200)),
        ("sim-truncate-2", True, openai.APIConnectionError, "", ("upstream_reset", 200)),
        ("sim-error-2", True, openai.APIError, "", ("upstream_error", 200)),
        ("sim-fail-500", False, openai.InternalServerError, "", ("upstream_error", 500)),
        ("sim-fail-500", True, openai.InternalServerError, "", ("upstream_error", 500)),
    ],
)
def test_a_fault_is_raised_by_the_sdk_and_recorded(proxy, sdk, model, stream, raised, words, recorded):  # noqa: PLR0917  # a table's columns
    began = now()
    with pytest.raises(raised) as caught:
        call(sdk, model, stream=stream)
    assert words in str(caught.value)
    event = proxy.finished_event(began)
    assert (event["outcome"], event["status"]) == recorded
    assert call(sdk, "gpt-4o-mini", stream=stream)
    assert proxy.finished_events(2, began)[1]["outcome"] == "completed"


@pytest.mark.parametrize("model", ["sim-garble-2", "sim-no-done", "sim-crlf", "sim-comments", "sim-tight"])
def test_an_unusual_stream_passes_and_is_counted(proxy, token_client, model):
    began = now()
    token_client.send(chat(model, stream=True))
    assert token_client.read_response().status == 200
    event = proxy.finished_event(began)
    assert (event["outcome"], event["finish_reason"]) == ("completed", "stop")


OK = b"HTTP/1.1 200 OK\r\n"
UPSTREAM_SAYINGS = [
    ("a head without end", endless_head, 502, "upstream_error"),
    ("nothing", saying(), 502, "upstream_reset"),
    ("half a status line", saying(b"HTTP/1.1 20"), 502, "upstream_reset"),
    (
        "two lengths",
        saying(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        "upstream_error",
    ),
    ("an invalid length", saying(OK + b"Content-Length: many\r\n\r\nab"), 502, "upstream_error"),
    ("an invalid chunk size", saying(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), None, None),
    ("an answer to another protocol", saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "upstream_error"),
    (
        "a switch of protocols",
        saying(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        None,
        None,
    ),
    ("less than its length", saying(OK + b"Content-Length: 100\r\n\r\n{"), 200, "upstream_reset"),
    (
        "invalid gzip",
        saying(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"),
        200,
        "upstream_error",  # it cannot be searched for the key, so it is removed
    ),
]


def test_an_upstream_that_sends_garbage_affects_only_its_call(tmp_path, simulator):
    """One Wirekey, whose provider says something else each time."""
    turn = iter(UPSTREAM_SAYINGS)
    saying_now = []

    def talk(connection):
        saying_now[-1](connection)

    with (
        RawUpstream(simulator.simulator.certificate_folder, talk) as upstream,
        wirekey_with(tmp_path, simulator, openai=upstream.url) as proxy,
    ):
        token = proxy.add_agent("alice")
        for name, says, status, outcome in turn:
            saying_now.append(says)
            began = now()
            with tunnel(proxy, token) as client:
                client.send(chat("gpt-4o-mini", stream=outcome == "truncated"))
                answer = answer_or_none(client)
            print(name, answer)
            if answer:
                assert status in (None, answer.status), (name, answer)
                assert answer.status < 500 or answer.message, (name, answer)
            event = proxy.finished_event(began)
            assert outcome in (None, event["outcome"]), (name, event)
            if status is not None:
                assert event["status"] == status, (name, event)
        assert proxy.process.poll() is None
        said = proxy.output.read_text()
        assert "Traceback" not in said, said
        assert "crashed" not in said


def answer_or_none(client):
    """None if the response is incomplete."""
    try:
        return client.read_response()
    except AssertionError:
        return None


def test_an_unreachable_or_untrusted_upstream_gets_no_key_and_the_caller_gets_the_reason(tmp_path, simulator):
    stranger = SimulatorThread(tmp_path / "stranger")
    other_name = SimulatorThread(simulator.simulator.certificate_folder, host="127.0.0.2")
    with (
        RawUpstream(tmp_path, silence, tls=False) as mute,
        RawUpstream(tmp_path, lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n"), tls=False) as plain,
        wirekey_with(
            tmp_path,
            simulator,
            openai="https://127.0.0.1:1",
            gemini=mute.url,
            anthropic=stranger.url,
            bedrock=other_name.url.replace("127.0.0.1", "127.0.0.2"),
        ) as proxy,
        wirekey_with(tmp_path / "second", simulator, openai=plain.url, gemini="https://no.such.host.invalid") as second,
    ):
        for wirekey, host, path, status, code, words, outcome in [
            (proxy, "api.openai.com", "/v1/models", 502, "upstream_unreachable", "127.0.0.1", "upstream_error"),
            (proxy, "generativelanguage.googleapis.com", "/v1beta/models", 504, "", "timeouts.connect", "timeout"),
            (proxy, "api.anthropic.com", "/v1/models", 502, "", "set upstream_ca_file", "upstream_error"),
            (proxy, "bedrock-runtime.us-east-1.amazonaws.com", INVOKE, 502, "", "certificate", "upstream_error"),
            (second, "api.openai.com", "/v1/models", 502, "", "could not be reached", "upstream_error"),
            (second, "generativelanguage.googleapis.com", "/v1beta/models", 502, "", "could not be", "upstream_error"),
        ]:
            token = wirekey.agents.rotate("alice") if wirekey.agents.agents() else wirekey.add_agent("alice")
            began = now()
            with tunnel(wirekey, token, host) as client:
                client.send(request(host, path))
                answer = client.read_response()
            assert answer.status == status, (host, answer)
            assert words in answer.message, (host, answer)
            event = wirekey.finished_event(began)
            assert (event["status"], event["outcome"]) == (status, outcome), (host, event)
            assert code in (event["policy_reason"] or ""), event
        assert not stranger.seen
        assert not other_name.seen
    stranger.stop()
    other_name.stop()


INVOKE = "/model/amazon.titan-text-lite-v1/invoke"


def request(host: str, path: str) -> bytes:
    if path == INVOKE:
        body = b'{"inputText":"hello"}'
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return head.encode() + b"\r\n\r\n" + body
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nanthropic-version: 2023-06-01\r\n\r\n".encode()


@contextlib.contextmanager
def wirekey_with(folder, simulator, **upstreams):
    """A Wirekey whose providers are dialled at these places."""
    configuration = behind(simulator, timeouts=QUICK)
    for name, url in upstreams.items():
        configuration["providers"][name]["upstream_url"] = url
    running = Wirekey(folder / "wirekey", configuration, environ=KEY_ENVIRONMENT)
    try:
        yield running
    finally:
        running.stop()
