"""Extensions of an operator: the examples of the guide with real SDKs, and extensions that fail or go too far."""

from __future__ import annotations

import asyncio
import json
import ssl
import time

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.deliveries.paths import DELIVERIES
from tests.docs.pages import blocks_of
from tests.support.raw_client import CHAT
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for, wirekey_behind
from tests.threats.conftest import beginning

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
EXAMPLES = {block.about["file"]: block.text for block in blocks_of("docs/guides/extending.md") if "file" in block.about}
QUESTION = [{"role": "user", "content": "hello"}]
PAGE = "https://app.example"

HOOKS = '''
import asyncio
import time
from pathlib import Path

from wirekey.extension import Hooks, Refusal, Response

HERE = Path(__file__).parent


def asked(request):
    """The mode that a test asks for."""
    return request.header("x-mode") or ""


class Modes(Hooks):
    time_limit = 0.5

    async def on_request(self, request):
        mode = asked(request)
        if mode == "raise":
            raise ValueError("the text of the exception quotes the prompt")
        if mode == "wait":
            await asyncio.sleep(60)
        if mode == "block":
            time.sleep(1)
        if mode == "pause":
            await asyncio.sleep(0.4)
        if mode == "exit":
            raise SystemExit(3)
        if mode == "nonsense":
            return {"headers": {}}
        if mode.startswith("set "):
            return request.with_header(mode[4:], "value")
        if mode.startswith("remove "):
            return request.without_header(mode[7:])
        if mode.startswith("smuggle "):
            from dataclasses import replace
            return replace(request, headers=(*request.headers, (mode[8:], "value")))
        if mode == "path":
            from dataclasses import replace
            return replace(request, path="/v1/models")
        if mode == "newline":
            return request.with_header("x-note", "one\\r\\nx-evil: two")
        if mode == "model":
            return request.with_member("model", "gpt-forbidden")
        if mode == "twice":
            return request.with_body(b'{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}')
        if mode == "no json":
            return request.with_body(b"no json")
        if mode == "huge":
            return request.with_member("user", "x" * 3_000_000)
        if mode == "respond":
            return Response(200, {"content-type": "application/json", "x-cache": "hit"}, b'{"id": "from the cache"}')
        if mode == "framing":
            return Response(200, {"content-length": "7"}, b"{}")
        if mode == "refuse":
            return Refusal(403, "not_today", "Not today.")
        if mode == "look":
            (HERE / "seen.txt").write_text(repr((request.headers, request.path, request.agent_id, request.size)))
        return None


class Late(Hooks):
    time_limit = 0.5

    async def on_response(self, call, head):
        if head.header("x-mode") is None and call.requested_model == "gpt-4.1-nano":
            raise ValueError("quotes the response")
        if call.requested_model == "gpt-4.1-mini":
            await asyncio.sleep(60)
        if call.requested_model == "gpt-4.1":
            return head.with_header("content-length", "3")
        return head.with_header("x-note", f"{call.agent_id} {call.operation} {head.status} {head.by_wirekey}")


class Plain(Hooks):
    """Its methods are not async."""

    keeps_response_body = True

    def on_request(self, request):
        if asked(request) == "block in a thread":
            time.sleep(0.4)
        return request.with_header("x-plain", "yes")

    def on_end(self, call):
        line = [call.id, call.agent_id, call.operation, call.status, call.outcome, call.output_tokens]
        with (HERE / "ended.txt").open("a") as file:
            file.write(repr((line, call.response_body)) + "\\n")
'''
POLICY = """package wirekey.authz
deny contains "That model is forbidden." if input.model == "gpt-forbidden"
"""


def start(folder, simulator, extensions, files, **more):
    """Start a Wirekey with these extensions, whose modules are beside its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "authz.rego").write_text(POLICY)
    settings = {"listen": LISTEN, "extensions": extensions, "policy": {"path": "policies"}, **more}
    return wirekey_behind(folder, simulator, **settings)


@pytest.fixture(scope="module")
def examples(tmp_path_factory, simulator):
    """A Wirekey with the extensions of the guide."""
    files = {name: text.replace("CALLS, SECONDS = 60", "CALLS, SECONDS = 8") for name, text in EXAMPLES.items()}
    names = ["python:cors:Cors", "python:rate_limit:RateLimit", "python:tagging:Tagging"]
    with start(tmp_path_factory.mktemp("examples"), simulator, names, files) as running:
        yield running


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    """A Wirekey whose extensions do what a test asks for."""
    names = ["python:modes:Modes", "python:modes:Late", "python:modes:Plain"]
    folder = tmp_path_factory.mktemp("modes")
    with start(folder, simulator, names, {"modes.py": HOOKS}, limits={"body_bytes": "2MiB"}) as running:
        running.token = running.add_agent("alice", role="engineer")
        yield running


@pytest.fixture
def began():
    return beginning()


def base(wirekey):
    return f"http://{wirekey.running.gateway}"


def ask(wirekey, mode="", content=CHAT, token=None, **headers):
    given = {
        "authorization": f"Bearer {token or wirekey.token}",
        "content-type": "application/json",
        "x-mode": mode,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return httpx.post(base(wirekey) + "/v1/chat/completions", content=content, headers=given, timeout=30)


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def sent(seen, name):
    return [value.decode() for other, value in seen.headers if other.decode().lower() == name]


# The examples of the guide.


def test_the_tagging_example_adds_a_header_and_a_member_to_every_json_body(examples, simulator):
    token = examples.add_agent("tagged")
    client = openai.OpenAI(api_key=token, base_url=base(examples) + "/v1", max_retries=0)
    assert client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).choices
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True)
    assert [chunk.id for chunk in stream]
    gemini = genai.Client(api_key=token, http_options={"base_url": base(examples)})
    with pytest.raises(errors.ClientError, match='Unknown name "user_id"'):
        gemini.models.generate_content(model="gemini-2.5-flash", contents="hello")  # Google refuses unknown members
    assert [json.loads(seen.body)["user_id"] for seen in simulator.seen] == ["tagged"] * 3
    assert len({sent(seen, "x-request-id")[0] for seen in simulator.seen}) == 3


def test_the_tagging_example_changes_no_other_byte(examples, simulator):
    content = b'{ "model":"gpt-4o-mini",\n "messages" : [{"role":"user","content":"h\\u00e9"}], "temperature":1.0 }'
    assert ask(examples, content=content, token=examples.add_agent("exact")).status_code == 200
    (seen,) = simulator.seen
    assert seen.body == b'{"user_id":"exact",' + content[1:]


def test_the_tagging_example_leaves_a_request_without_a_body_alone(examples, simulator):
    token = examples.add_agent("listing")
    url = base(examples) + "/api/v1/openai/v1/models"
    assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200
    (seen,) = simulator.seen
    assert seen.body == b""
    assert sent(seen, "x-request-id")


def test_the_rate_limit_example_raises_the_error_of_the_sdk_for_one_agent_only(examples, began):
    one, other = examples.add_agent("fast"), examples.add_agent("slow")
    client = openai.OpenAI(api_key=one, base_url=base(examples) + "/v1", max_retries=0)
    for _ in range(8):
        assert client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).id
    with pytest.raises(openai.RateLimitError, match="At most 8 calls in 60 s") as limited:
        client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    assert int(limited.value.response.headers["retry-after"]) > 0
    assert ask(examples, token=other).status_code == 200
    denied = [event for event in examples.finished_events(10, began) if event["outcome"] == "denied"]
    assert [(event["agent_id"], event["status"]) for event in denied] == [("fast", 429)]
    assert "rate_limited" in denied[0]["policy_reason"]


def test_the_cors_example_answers_the_preflight_and_lets_the_page_read_the_response(examples, began):
    url = base(examples) + "/v1/chat/completions"
    asking = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    preflight = httpx.options(url, headers=asking)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "content-length" not in preflight.headers
    called = ask(examples, token=examples.add_agent("page"), origin=PAGE)
    assert (called.status_code, called.headers["access-control-allow-origin"]) == (200, PAGE)
    refused = ask(examples, token="wk_" + "a" * 43, origin=PAGE)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert {event["agent_id"] for event in examples.finished_events(2, began)} == {"page", None}
    assert httpx.options(url, headers=asking | {"origin": "https://other.example"}).status_code == 403


# What an extension may do.


def test_a_hook_sees_no_credential(wirekey, simulator):
    others = {"x_goog_api_key": "AIza-of-the-client", "cookie": "session=1", "x_openai_key": "sk-of-the-client"}
    content = CHAT
    given = {"x-api-key": wirekey.token, "x-mode": "look", "content-type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in others.items() if name != "x_goog_api_key"}
    url = base(wirekey) + f"/v1/chat/completions?key={wirekey.token}&a=b"
    assert httpx.post(url, content=content, headers=given).status_code == 200
    seen = (wirekey.folder / "seen.txt").read_text()
    for secret in (wirekey.token, "sk-of-the-client", "session=1", *PROVIDER_KEYS.values()):
        assert secret not in seen
    assert "'alice'" in seen
    assert f", {len(CHAT)})" in seen
    assert "/v1/chat/completions?a=b" in seen


def test_the_policy_decides_on_what_a_hook_leaves(wirekey, simulator, began):
    answer = ask(wirekey, "model")
    assert answer.status_code == 403
    assert "That model is forbidden" in answer.text
    assert not simulator.seen
    assert wirekey.finished_event(began)["requested_model"] == "gpt-forbidden"


@pytest.mark.parametrize("mode", ["twice", "no json"])
def test_a_body_that_a_hook_breaks_is_refused_as_a_clients_is(wirekey, simulator, mode):
    assert code(ask(wirekey, mode)) == (400, "malformed_body")
    assert not simulator.seen


def test_a_body_that_a_hook_makes_too_large_is_refused(wirekey, simulator):
    assert code(ask(wirekey, "huge")) == (413, "request_too_large")
    assert not simulator.seen


def test_a_hook_responds_itself(wirekey, simulator, began):
    answer = ask(wirekey, "respond")
    assert (answer.status_code, answer.json(), answer.headers["x-cache"]) == (200, {"id": "from the cache"}, "hit")
    assert not simulator.seen
    event = wirekey.finished_event(began)
    assert (event["agent_id"], event["status"], event["outcome"]) == ("alice", 200, "completed")
    assert event["policy_reason"] == "extension: python:modes:Modes responded"


def test_a_refusal_of_a_hook_has_the_format_of_the_provider(wirekey, simulator):
    client = anthropic.Anthropic(
        api_key=wirekey.token, base_url=base(wirekey), max_retries=0, default_headers={"x-mode": "refuse"}
    )
    with pytest.raises(anthropic.PermissionDeniedError, match="Not today"):
        client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=QUESTION)
    assert not simulator.seen


FAILING = [
    ("raise", "python:modes:Modes failed: ValueError"),
    ("wait", "python:modes:Modes did not return within 0.5 s"),
    ("block", "python:modes:Modes did not return within 0.5 s"),
    ("exit", "python:modes:Modes failed: it wanted to exit"),
    ("nonsense", "returned neither a Request"),
    ("path", "changed more of the request"),
    ("newline", "the header x-note has an invalid value"),
    ("framing", "may not set the header content-length"),
    *[
        (f"{how} {name}", f"may not set or remove the header {name}")
        for how in ("set", "remove", "smuggle")
        for name in ("authorization", "x-api-key", "host", "content-length", "transfer-encoding", "x-wirekey-model")
    ],
    ("set proxy-authorization", "may not set or remove the header proxy-authorization"),
    ("set content-type", "may not set or remove the header content-type"),
    ("set cookie", "may not set or remove the header cookie"),
    ("set x-aws-access-key", "may not set or remove the header x-aws-access-key"),
]


@pytest.mark.parametrize(("mode", "words"), FAILING, ids=[mode for mode, _ in FAILING])
def test_a_hook_that_fails_refuses_the_call(wirekey, simulator, began, mode, words):
    answer = ask(wirekey, mode)
    assert code(answer) == (503, "extension_failed")
    assert words in answer.json()["error"]["message"]
    assert "quotes the prompt" not in answer.text
    assert not simulator.seen
    event = wirekey.finished_event(began)
    assert (event["outcome"], event["status"]) == ("denied", 503)
    assert "quotes the prompt" not in wirekey.output.read_text()


RESPONSES = [
    ("gpt-4.1-nano", "python:modes:Late failed: ValueError"),
    ("gpt-4.1-mini", "python:modes:Late did not return within 0.5 s"),
    ("gpt-4.1", "may not set or remove the header content-length"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("model", "words"), RESPONSES, ids=[model for model, _ in RESPONSES])
def test_a_response_hook_that_fails_keeps_the_response_from_the_client(wirekey, simulator, model, words, stream):
    began = beginning()
    asked = {"model": model, "messages": QUESTION, "stream": stream}
    answer = ask(wirekey, content=json.dumps(asked))
    assert code(answer) == (503, "extension_failed")
    assert words in answer.json()["error"]["message"]
    assert len(simulator.seen) == 1
    event = wirekey.finished_event(began)
    assert (event["outcome"], event["status"]) == ("interrupted", 503)


def test_the_connection_is_usable_after_a_refused_response(wirekey):
    with httpx.Client() as client:
        for model, status in [("gpt-4.1-nano", 503), ("gpt-4o-mini", 200)] * 3:
            headers = {"authorization": f"Bearer {wirekey.token}"}
            asked = {"model": model, "messages": QUESTION}
            answer = client.post(base(wirekey) + "/v1/chat/completions", json=asked, headers=headers)
            assert answer.status_code == status


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_hooks_run_for_calls_through_the_proxy(wirekey, simulator, http2):
    context = ssl.create_default_context(cafile=str(wirekey.root))
    proxy = wirekey.proxy_url("alice", wirekey.token)
    url = "https://api.openai.com/v1/chat/completions"
    with httpx.Client(proxy=proxy, verify=context, http2=http2, trust_env=False, timeout=60) as client:
        answer = client.post(url, content=CHAT, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["x-note"]) == (200, "alice chat.completions 200 False")
        refused = client.post(url, content=CHAT, headers={"content-type": "application/json", "x-mode": "raise"})
        assert code(refused) == (503, "extension_failed")
        assert client.post(url, content=CHAT, headers={"content-type": "application/json"}).status_code == 200
    assert [sent(seen, "x-plain") for seen in simulator.seen] == [["yes"]] * 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_hooks_work_with_every_delivery_of_a_response(wirekey, delivery, stream):
    """A refused response leaves the client connection usable, in whichever packets the provider sends it."""
    headers = {"authorization": f"Bearer {wirekey.token}", "x-simulator": DELIVERIES[delivery]}
    url = base(wirekey) + "/v1/chat/completions"
    with httpx.Client(timeout=60) as client:
        for model, status in [("gpt-4.1-nano", 503), ("gpt-4o-mini", 200), ("gpt-4.1", 503), ("gpt-4o-mini", 200)]:
            asked = {"model": model, "messages": QUESTION, "stream": stream}
            answer = client.post(url, json=asked, headers=headers)
            assert answer.status_code == status
            if status == 200:
                assert answer.headers["x-note"].startswith("alice chat.completions 200")
                assert "[DONE]" in answer.text if stream else answer.json()["choices"]
            else:
                assert code(answer) == (503, "extension_failed")


def test_a_response_hook_sets_headers_of_responses_and_refusals(wirekey):
    assert ask(wirekey).headers["x-note"] == "alice chat.completions 200 False"
    assert ask(wirekey, "refuse").headers["x-note"] == "alice chat.completions 403 True"


def test_a_stream_is_not_delayed_by_hooks(wirekey, simulator):
    client = openai.OpenAI(api_key=wirekey.token, base_url=base(wirekey) + "/v1", max_retries=0)
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_on_end_gets_the_outcome_and_the_body_that_the_client_got(wirekey, began):
    answer = ask(wirekey)
    event = wirekey.finished_event(began)

    def line():
        file = wirekey.folder / "ended.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return next((line for line in lines if event["id"] in line), None)

    facts, body = eval(wait_for(line, "the end of the call"))  # written by the extension of this test
    assert facts == [event["id"], "alice", "chat.completions", 200, "completed", event["output_tokens"]]
    assert json.loads(body) == answer.json()


@pytest.mark.parametrize("mode", ["pause", "block in a thread"])
def test_a_hook_that_waits_does_not_delay_other_calls(wirekey, mode):
    """Ten calls whose hook waits 0.4 s take less time together than one after the other."""

    async def together():
        headers = {"authorization": f"Bearer {wirekey.token}", "x-mode": mode, "content-type": "application/json"}
        async with httpx.AsyncClient(timeout=60) as client:
            calls = [
                client.post(base(wirekey) + "/v1/chat/completions", content=CHAT, headers=headers) for _ in range(10)
            ]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    began = time.monotonic()
    statuses = asyncio.run(together())
    assert statuses == [200] * 10
    assert time.monotonic() - began < 10 * 0.4


def test_the_proxy_goes_on_while_an_async_hook_blocks(wirekey):
    async def together():
        headers = {"authorization": f"Bearer {wirekey.token}", "x-mode": "block", "content-type": "application/json"}
        async with httpx.AsyncClient(timeout=60) as client:
            blocked = asyncio.create_task(
                client.post(base(wirekey) + "/v1/chat/completions", content=CHAT, headers=headers)
            )
            await asyncio.sleep(0.1)
            health = await client.get(base(wirekey) + "/health")
            return health.status_code, not blocked.done(), (await blocked).status_code

    assert asyncio.run(together()) == (200, True, 503)


# Large bodies.


def test_a_hook_sees_and_edits_a_body_that_is_in_a_file(tmp_path, simulator):
    hooks = """
from pathlib import Path
from wirekey.extension import Hooks


class Large(Hooks):
    async def on_request(self, request):
        facts = (request.size, type(request.content).__name__, len(request.body), len(request.json()["messages"]))
        Path(__file__).with_name("large.txt").write_text(repr(facts))
        return request.with_member("user", request.agent_id)
"""
    with start(tmp_path / "wirekey", simulator, ["python:large_hooks:Large"], {"large_hooks.py": hooks}) as running:
        text = "x" * (6 * 1024 * 1024)
        content = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}).encode()
        running.token = running.add_agent("alice")
        assert ask(running, content=content).status_code == 200
        assert (running.folder / "large.txt").read_text() == repr((len(content), "SpooledBody", len(content), 1))
        (seen,) = simulator.seen
        changed = b'{"user":"alice",' + content[1:]
        assert changed.startswith(seen.body), "the simulator keeps the beginning of a large body"
        assert sent(seen, "content-length") == [str(len(changed))]


# Loading and reloading.


WRONG = [
    (["python:nowhere_to_be_found:Hooks"], "there is no Python module nowhere_to_be_found"),
    (["python:wrong:Missing"], "the module wrong has no class Missing"),
    (["python:wrong:function"], "is not a class with at least one of on_request, on_response, on_end"),
    (["python:wrong:Empty"], "is not a class with at least one of on_request, on_response, on_end"),
    (["python:wrong:Slow"], "time_limit of python:wrong:Slow must be a number of seconds up to 60"),
    (["python:wrong:Failing"], "python:wrong:Failing cannot be made: ZeroDivisionError"),
    (["wrong.Missing"], "must be python:MODULE:CLASS"),
]


def test_a_connection_whose_requests_no_extension_would_see_is_refused(wirekey):
    """Status 426 makes Codex go on with HTTP at once."""
    address = f"ws://{wirekey.running.gateway}/v1/responses"
    headers = {"Authorization": f"Bearer {wirekey.token}"}
    with pytest.raises(InvalidStatus) as refused, connect(address, additional_headers=headers, proxy=None):
        pass
    response = refused.value.response
    assert (response.status_code, json.loads(response.body)["error"]["code"]) == (426, "extensions_need_http")


LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SETUP = json.dumps({"setup": {"model": "models/gemini-live-2.5-flash-preview"}})


@pytest.mark.parametrize(
    ("mode", "code", "reason"),
    [
        ("refuse", 1008, "not_today: Not today."),
        ("raise", 1011, "extension_failed"),
        ("twice", 1007, "malformed_body"),
        ("respond", 1008, "An extension of Wirekey refused the WebSocket: HTTP status 200."),
    ],
)
def test_an_extension_decides_on_the_first_message_of_a_connection(wirekey, simulator, mode, code, reason):
    headers = {"x-goog-api-key": wirekey.token, "x-mode": mode}
    with connect(f"ws://{wirekey.running.gateway}{LIVE}", additional_headers=headers, proxy=None) as socket:
        socket.send(SETUP)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason[: len(reason)]) == (code, reason)
    assert not simulator.seen


def test_an_extension_sets_a_header_of_a_connection_whose_first_message_it_has_seen(wirekey, simulator):
    headers = {"x-goog-api-key": wirekey.token}
    with connect(f"ws://{wirekey.running.gateway}{LIVE}", additional_headers=headers, proxy=None) as socket:
        socket.send(SETUP)
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
    (arrived,) = simulator.seen
    assert (dict(arrived.headers)[b"x-plain"], arrived.body) == (b"yes", SETUP.encode())


@pytest.mark.parametrize(("extensions", "words"), WRONG, ids=[words for _, words in WRONG])
def test_an_extension_that_cannot_be_used_stops_the_start(tmp_path, simulator, extensions, words):
    text = """
from wirekey.extension import Hooks
function = len
class Empty(Hooks): pass
class Slow(Hooks):
    time_limit = 100
    def on_end(self, call): pass
class Failing(Hooks):
    def __init__(self): 1 / 0
    def on_end(self, call): pass
"""
    refused = start(tmp_path / "wirekey", simulator, extensions, {"wrong.py": text})
    with pytest.raises(AssertionError, match="serve ended") as failed, refused:
        pass
    assert words in str(failed.value)
    assert "extensions[0]" in str(failed.value)


def test_the_object_of_an_extension_survives_a_reload(tmp_path, simulator):
    hooks = """
from wirekey.extension import Hooks


class Counting(Hooks):
    def __init__(self):
        self.count = 0

    async def on_response(self, call, head):
        self.count += 1
        return head.with_header("x-count", str(self.count))
"""
    with start(tmp_path / "wirekey", simulator, ["python:counting:Counting"], {"counting.py": hooks}) as running:
        running.token = running.add_agent("alice")
        assert ask(running).headers["x-count"] == "1"
        file = running.folder / "wirekey.yaml"
        changed = json.loads(file.read_text()) | {"failover": {"max_attempts": 1}}
        file.write_text(json.dumps(changed))
        wait_for(lambda: "The changed configuration is in use" in running.output.read_text(), "the reload")
        assert ask(running).headers["x-count"] == "2"
        file.write_text(json.dumps(changed | {"extensions": []}))
        wait_for(lambda: running.output.read_text().count("The changed configuration is in use") == 2, "the reload")
        assert "x-count" not in ask(running).headers


# The choice of a model.

CHOICES = """
import asyncio
from wirekey.extension import Refusal


def plain(call, head):
    return chosen(call)


async def waiting(call, head):
    await asyncio.sleep(0)
    return chosen(call)


def chosen(call):
    if call.agent_role == "batch":
        return "gpt-4o-mini?temperature=0.5"
    if call.agent_role == "broken":
        raise ValueError("quotes the prompt")
    if call.agent_role == "elsewhere":
        return "gemini:gemini-2.5-flash"
    return 7 if call.agent_role == "number" else None
"""


@pytest.mark.parametrize("function", ["plain", "waiting"])
def test_a_function_chooses_the_model(tmp_path, simulator, function):
    files = {f"choices_{function}.py": CHOICES}
    named = {"model_override": f"python:choices_{function}:{function}"}
    with start(tmp_path / "wirekey", simulator, [], files, **named) as running:
        content = CHAT.replace(b"gpt-4o-mini", b"gpt-4o")
        tokens = {
            role: running.add_agent(role, role=role) for role in ("batch", "other", "broken", "elsewhere", "number")
        }
        began = beginning()
        assert ask(running, content=content, token=tokens["batch"]).headers["x-wirekey-model"] == "gpt-4o-mini"
        assert json.loads(simulator.seen[-1].body)["temperature"] == 0.5
        event = running.finished_event(began)
        assert (event["requested_model"], event["model"]) == ("gpt-4o", "gpt-4o-mini")
        assert ask(running, content=content, token=tokens["other"]).status_code == 200
        assert json.loads(simulator.seen[-1].body)["model"] == "gpt-4o"
        simulator.forget()
        for role in ("broken", "elsewhere", "number"):
            answer = ask(running, content=content, token=tokens[role])
            assert code(answer) == (503, "extension_failed")
            assert "quotes the prompt" not in answer.text
        assert not simulator.seen


def test_the_example_of_the_guide_chooses_by_role(tmp_path, simulator):
    files = {"choice.py": EXAMPLES["choice.py"]}
    with start(tmp_path / "wirekey", simulator, [], files, model_override="python:choice:model") as running:
        token = running.add_agent("alice", role="batch")
        assert ask(running, content=CHAT.replace(b"gpt-4o-mini", b"gpt-4o"), token=token).status_code == 200
        assert json.loads(simulator.seen[-1].body)["model"] == "gpt-4o-mini"
