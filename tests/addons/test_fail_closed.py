"""An exception in any hook before the verdict denies the call; after it, the call goes on. Either way it is recorded.

The hooks are found by reflection, so a new one is covered or must be listed here with a reason.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
import sqlite3
import ssl
from types import SimpleNamespace

import pytest
from mitmproxy import hooks, options
from mitmproxy.test import tflow

from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, PROVIDER_KEYS, behind
from wirekey.config import load
from wirekey.core.addons import base
from wirekey.core.addons.base import BEFORE_VERDICT, LIFECYCLE, ON_ERROR, Addon
from wirekey.core.addons.gateway import Gateway
from wirekey.core.calls.calls import Calls
from wirekey.core.calls.response_tap import ResponseTap
from wirekey.core.calls.service_parts import add_services_of_features
from wirekey.core.calls.services import Services
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.credentials.scrub import KeyScrubber
from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.identity.agents import AgentStore
from wirekey.core.metering.tap import Tap
from wirekey.core.tracebacks import safe_traceback
from wirekey.core.wire.delegate import RequestRefused
from wirekey.server import bundle
from wirekey.server.master import ServeMaster

__all__ = ["simulator"]

FREE = {"forward": "127.0.0.1:0", "gateway": None, "console": None}
QUOTED = "the-message-of-an-exception-quotes-the-prompt"
ADDONS = {type(made).__name__: type(made) for made in bundle.addons_in_order(Services())}
HOOKS = [
    (name, hook)
    for name, kind in ADDONS.items()
    for hook in sorted(hooks.all_hooks)
    if callable(getattr(kind, hook, None)) and hook not in LIFECYCLE
]


def failing_as(on_error):
    """Return (addon, hook) for each hook with this `on_error`."""
    return [(name, hook) for name, hook in HOOKS if ON_ERROR.get(hook) is on_error]


BEFORE = failing_as(Addon.refuse_call)
AFTER = failing_as(Addon.only_log)
CONNECTION = failing_as(Addon.close_connection)
RETRYING = failing_as(Addon.stop_retrying)


def test_each_hook_of_each_addon_has_a_guard():
    assert len(HOOKS) > 20
    assert sorted(BEFORE + AFTER + CONNECTION + RETRYING) == sorted(HOOKS)
    for name, hook in HOOKS:
        assert getattr(ADDONS[name], hook).__code__ is base.guard(hook, lambda *_: None).__code__


def test_only_the_lifecycle_has_hooks_without_a_guard():
    """An exception there stops the start, and every call is refused until the start is complete."""
    unguarded = {name for name, kind in ADDONS.items() if not issubclass(kind, Addon)}
    assert unguarded == {"Lifecycle", "Endpoints"}
    assert not [name for name, _ in HOOKS if name in unguarded]


def test_hooks_before_the_verdict_refuse_and_hooks_after_it_are_logged():
    assert {hook for _, hook in BEFORE} == BEFORE_VERDICT == {"http_connect", "requestheaders", "request"}
    assert {hook for _, hook in CONNECTION} == {"client_connected", "next_layer", "server_connect"}
    assert {hook for _, hook in RETRYING} == {"attempt_failed", "attempt_repeated"}
    responses = {"responseheaders", "response", "error", "http_connected", "http_connect_error"}
    handshakes = {"tls_clienthello", "tls_start_client", "tls_start_server", "tls_established_client"}
    others = {"client_disconnected", "decide_message", "held_response"}
    assert {hook for _, hook in AFTER} == responses | handshakes | others


def test_a_hook_without_a_known_failure_mode_is_rejected():
    with pytest.raises(TypeError, match=r"New\.websocket_message: add this hook to ON_ERROR"):

        class New(Addon):
            def websocket_message(self, flow):
                pass

    with pytest.raises(TypeError, match="ON_ERROR"):
        type("Newer", (base.AdmittingAddon,), {"tls_failed_client": lambda self, data: None})


def test_a_hook_of_a_new_addon_is_guarded_by_default():
    class New(Addon):
        def request(self, flow):
            raise RuntimeError(QUOTED)

        async def requestheaders(self, flow):
            raise Refusal(403, "no", "No.")

    services, flow = Services(), tflow.tflow()
    New(services).request(flow)
    assert flow.response.status_code == 503
    flow = tflow.tflow()
    asyncio.run(New(services).requestheaders(flow))
    assert (flow.response.status_code, services.calls.of(flow).refusal_code) == (403, "no")


@pytest.mark.parametrize(("name", "hook"), RETRYING)
def test_an_exception_in_a_retry_decision_means_no_retry(name, hook, monkeypatch, caplog):
    break_hook(monkeypatch, name, hook)
    attempt = SimpleNamespace(retry=True)
    asyncio.run(getattr(ADDONS[name](Services()), hook)(attempt))
    assert attempt.retry is False
    assert f"{name}.{hook} failed: RuntimeError at test_fail_closed.py" in caplog.text
    assert QUOTED not in caplog.text


def test_an_exception_in_a_request_to_a_local_endpoint_refuses_it(monkeypatch):
    break_hook(monkeypatch, "Gateway", "request")
    services, flow = Services(), tflow.tflow()
    services.calls.local_requests[flow.id] = None
    Gateway(services, None).request(flow)
    assert flow.response.status_code == 503


def break_hook(monkeypatch, name, hook):
    """Make the body of a hook raise, inside its guard."""
    kind = ADDONS[name]
    inside = getattr(kind, "admit", None) if issubclass(kind, base.AdmittingAddon) else None
    waits = any(map(inspect.iscoroutinefunction, (getattr(kind, hook).__wrapped__, inside)))

    def failing(self, data):
        raise RuntimeError(QUOTED)

    async def failing_later(self, data):
        await asyncio.sleep(0)
        raise RuntimeError(QUOTED)

    monkeypatch.setattr(kind, hook, base.guard(hook, failing_later if waits else failing))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, simulator):
    """A folder with state and CA, made once because a CA is slow to make."""
    made = tmp_path_factory.mktemp("wirekey")
    settings = {"state": str(made / "state"), "certs": str(made / "certs"), "listen": FREE}
    (made / "wirekey.yaml").write_text(json.dumps(behind(simulator, **settings)))
    (made / "state").mkdir()
    (made / "token").write_text(AgentStore(made / "state" / "agents.json").add("alice"))
    return made


@contextlib.asynccontextmanager
async def wirekey(folder, *onlookers):
    """Run addons, wire layer and audit in this process, wired as `wirekey serve` wires them."""
    services = Services()
    master = ServeMaster(options.Options(confdir=str(folder / "certs")))
    ours = bundle.addons_in_order(services, load(folder / "wirekey.yaml", KEY_ENVIRONMENT))
    builtin = list(master.addons.chain)
    master.addons.add(*ours)
    master.addons.chain[:] = [*ours, *builtin]
    master.addons.add(*onlookers)
    ours[0].configure(set())
    running = asyncio.create_task(master.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while ours[0].running_proxy is None:
                assert not running.done()
                await asyncio.sleep(0.01)
        yield ours[0].running_proxy.forward
    finally:
        master.shutdown()
        await asyncio.wait([running], timeout=10)


CALLS = {
    "openai": ("api.openai.com", "/v1/chat/completions", {"model": "gpt-4o-mini"}, "error.code"),
    "anthropic": ("api.anthropic.com", "/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9}, "error.type"),
    "bedrock": (
        "bedrock-runtime.us-east-1.amazonaws.com",
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9},
        "message",
    ),
    "gemini": (
        "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        None,
        "error.status",
    ),
}
"""Provider → host, path, body, and the fields of its errors."""


async def call(forward, folder, provider="openai", behaviour=""):
    """Make one call and return (status of CONNECT, status, JSON body); 0 and None if the connection was closed."""
    host, path, body, _ = CALLS[provider]
    messages = [{"role": "user", "content": "hello"}]
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    content = json.dumps({"contents": contents} if body is None else {**body, "messages": messages}).encode()
    address, _, port = forward.rpartition(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    try:
        token = (folder / "token").read_text()
        basic = base64.b64encode(f"alice:{token}".encode()).decode()
        writer.write(
            f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {basic}\r\n\r\n".encode()
        )
        connected, denial = await read(reader)
        if connected != 200:
            return connected, connected, denial
        context = ssl.create_default_context(cafile=folder / "certs" / "mitmproxy-ca-cert.pem")
        await writer.start_tls(context, server_hostname=host)
        head = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
        head += ["anthropic-version: 2023-06-01"] if provider == "anthropic" else []
        head += [f"X-Simulator: {behaviour}"] if behaviour else []
        head += [f"Content-Length: {len(content)}", "", ""]
        writer.write("\r\n".join(head).encode() + content)
        return connected, *await read(reader)
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
        return 0, 0, None
    finally:
        writer.close()


async def read(reader):
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        if "transfer-encoding: chunked" in head:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            length = next((line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length")), 0)
            body = await reader.readexactly(int(length))
    return status, json.loads(body) if body else None


def events(folder):
    with contextlib.closing(sqlite3.connect(folder / "state" / "audit.db")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM calls ORDER BY id")]


@pytest.fixture
def play(folder, simulator):
    """Make one call with a new Wirekey; (CONNECT, status, body), requests at the provider, new audit events."""
    simulator.forget()
    before = len(events(folder)) if (folder / "state" / "audit.db").exists() else 0

    async def played(provider="openai", behaviour="", onlookers=()):
        async with wirekey(folder, *onlookers) as forward:
            async with asyncio.timeout(PATIENCE):
                result = await call(forward, folder, provider, behaviour)
        return result, simulator.seen, events(folder)[before:]

    return played


def member(body, path):
    for name in path.split("."):
        body = body[name]
    return body


async def test_without_a_failure_the_call_goes_through(play):
    (_, status, body), seen, (event,) = await play()
    assert (status, len(seen)) == (200, 1), body
    assert body["object"] == "chat.completion"
    assert (event["policy_result"], event["outcome"]) == ("allow", "completed")


@pytest.mark.parametrize(("name", "hook"), BEFORE)
async def test_an_exception_before_the_verdict_denies_the_call(name, hook, play, monkeypatch, caplog):
    break_hook(monkeypatch, name, hook)
    (connected, status, body), seen, found = await play()
    assert status == 503
    assert (connected == 503) == (hook == "http_connect")
    assert body["error"]["code"] == "wirekey_error"
    assert seen == []
    denied = [event for event in found if event["outcome"] == "denied"]
    assert [(event["policy_result"], event["status"]) for event in denied] == [("deny", 503)]
    assert f"{name}.{hook} failed: RuntimeError at test_fail_closed.py" in caplog.text
    assert QUOTED not in caplog.text


@pytest.mark.parametrize("provider", CALLS)
async def test_the_denial_has_the_shape_of_the_provider(provider, play, monkeypatch):
    break_hook(monkeypatch, "Routing", "request")
    (_, status, body), seen, _ = await play(provider)
    assert (status, seen) == (503, [])
    assert member(body, CALLS[provider][3])


@pytest.mark.parametrize(("name", "hook"), CONNECTION)
async def test_an_exception_in_a_connection_hook_dials_nothing(name, hook, play, monkeypatch, caplog):
    break_hook(monkeypatch, name, hook)
    (_, status, _), seen, _ = await play()
    assert status in (0, 502)
    assert seen == []
    assert QUOTED not in caplog.text


@pytest.mark.parametrize(("name", "hook"), AFTER)
async def test_the_call_continues_after_an_exception_past_the_verdict(name, hook, play, monkeypatch, caplog):
    break_hook(monkeypatch, name, hook)
    (_, status, body), seen, found = await play()
    assert (status, len(seen)) == (200, 1), body
    event = next(event for event in found if event["operation"])
    assert event["policy_result"] == "allow"
    assert event["outcome"] in ("completed", "interrupted")
    assert QUOTED not in caplog.text


class Observer:
    """Another addon, run after Wirekey's."""

    def __init__(self):
        self.contents = []

    def response(self, flow):
        self.contents += [flow.request.raw_content, flow.response.raw_content]


async def test_a_response_without_a_tap_is_not_kept_on_the_flow(play, monkeypatch):
    break_hook(monkeypatch, "Metering", "responseheaders")
    onlooker = Observer()
    (_, status, _), _, _ = await play(onlookers=[onlooker])
    assert (status, onlooker.contents) == (200, [None, None])


@pytest.mark.parametrize("broken", ["install_tap", "make_tap", "make_filter"])
async def test_an_error_that_quotes_the_key_is_removed_if_its_filter_fails(broken, play, monkeypatch):
    key = PROVIDER_KEYS["openai"]

    def failing(*_):
        raise RuntimeError(QUOTED)

    monkeypatch.setattr(ADDONS["Metering"], broken, failing)
    (_, status, body), (seen,), _ = await play(behaviour="echo-key")
    assert status == 401
    assert body is None
    assert key in str(seen.headers)


def test_a_failed_filter_passes_the_announced_bytes_and_nothing_of_an_error(monkeypatch):
    services, flow = Services(), tflow.tflow(resp=True)
    services.calls.open(flow)
    tap = ResponseTap(services.calls, flow, Tap(None))
    tap.filter = KeyScrubber(b"the-key-of-the-provider")
    assert tap(b"an error with the-key-of") == [b"an error with "]
    monkeypatch.setattr(KeyScrubber, "feed", lambda *_: 1 / 0)
    assert tap(b"-the-provider, and more") == [b"*" * len(b"the-key-of-the-provider, and more")]
    assert tap(b" of it") == [b"*" * 6]
    assert tap(b"") == []


METHODS = {
    "refuse_malformed": None,
    "store_body": (503, "denied"),
    "wire_request": (503, "upstream_error"),
    "local_response_body": None,
    "limits_of": None,
    "count_attempt": None,
    "is_retryable_status": None,
    "can_retry": None,
    "may_be_resent": None,
    "release_body": None,
    "report_request_reset": None,
    "reserve_memory": (503, "denied"),
    "error_response": None,
    "stream_error": None,
    "report_end": None,
    "refusal_if_revoked": None,
    "response_head": None,
    "refusal_of_hooks": None,
    "holds_response": None,
    "holds_large_response": None,
    "refusal_of_response": None,
    "is_two_way": None,
    "request_parts": None,
    "takeover": (503, "denied"),
    "open_spool": None,  # in tests/wire/test_large_requests.py
}
"""Method called by the wire layer → status and outcome of a call in which it fails; None: tested below."""


def break_method(monkeypatch, name):
    def failing(self, *_, **__):
        raise RuntimeError(QUOTED)

    failing.__name__ = name
    kind = Calls if hasattr(Calls, name) else CallDelegate
    whole = getattr(kind, name)
    monkeypatch.setattr(kind, name, whole.guard(failing) if hasattr(whole, "guard") else failing)


def test_every_method_of_the_wire_delegate_is_in_the_table():
    from wirekey.core.wire.delegate import WireDelegate

    attributes = {"limits", "connection_pool", "is_draining"}
    methods = {name for name in vars(WireDelegate) if not name.startswith("_")} - attributes
    assert methods == set(METHODS)


def test_an_exception_in_the_events_of_a_request_sends_nothing_more(monkeypatch, caplog):
    services, flow = Services(), tflow.tflow()
    add_services_of_features(services)
    delegate = CallDelegate(services)
    delegate.calls.open(flow)
    break_method(monkeypatch, "is_two_way")
    assert delegate.is_two_way(flow) is True
    with pytest.raises(RequestRefused, match="no_provider_key"):
        list(delegate.request_parts(flow, b"events of a call that signs none"))

    def failing(*_):
        raise RuntimeError(QUOTED)

    monkeypatch.setattr(delegate.services.conversations, "request_parts", failing)
    with pytest.raises(RequestRefused, match=INTERNAL_ERROR.code):
        list(delegate.request_parts(flow, b"anything"))
    assert QUOTED not in caplog.text


def test_an_exception_in_the_retry_check_means_no_retry(monkeypatch, caplog):
    delegate, flow = CallDelegate(Services()), tflow.tflow()
    for name in ("may_be_resent", "release_body", "report_request_reset"):
        break_method(monkeypatch, name)
    assert delegate.may_be_resent(flow) is False
    assert delegate.release_body(flow) is None
    assert delegate.report_request_reset(flow) is None
    assert QUOTED not in caplog.text


def test_an_exception_in_the_check_for_refused_responses_refuses_the_response(monkeypatch, caplog):
    delegate, flow = CallDelegate(Services()), tflow.tflow()
    break_method(monkeypatch, "refusal_of_hooks")
    assert delegate.refusal_of_hooks(flow).status == 503
    assert QUOTED not in caplog.text


def test_an_exception_in_the_revocation_check_does_not_end_a_running_call(monkeypatch, caplog):
    delegate, flow = CallDelegate(Services()), tflow.tflow()
    break_method(monkeypatch, "refusal_if_revoked")
    assert delegate.refusal_if_revoked(flow) is None
    assert QUOTED not in caplog.text


@pytest.mark.parametrize("name", [name for name, found in METHODS.items() if found])
async def test_an_exception_while_preparing_a_call_sends_nothing(name, play, monkeypatch, caplog):
    break_method(monkeypatch, name)
    (_, status, body), seen, (*_, event) = await play()
    assert (status, event["outcome"]) == METHODS[name]
    assert event["status"] == 503
    assert body["error"]["message"]
    assert seen == []
    assert QUOTED not in caplog.text


@pytest.mark.parametrize("refusing", ["deny", "error_response", "open", "redact"])
async def test_a_failed_refusal_still_refuses(refusing, play, monkeypatch, caplog):
    break_hook(monkeypatch, "Recognition", "requestheaders")
    break_method(monkeypatch, refusing)
    (_, status, body), seen, found = await play()
    assert status == 503
    assert body["error"]["message"]
    assert seen == []
    assert any((event["policy_result"], event["outcome"]) == ("deny", "denied") for event in found)
    assert QUOTED not in caplog.text


def test_an_invalid_head_is_refused_even_if_the_handler_fails(monkeypatch):
    break_method(monkeypatch, "refuse_malformed")
    services, flow = Services(), tflow.tflow()
    CallDelegate(services).refuse_malformed(flow, "a reason")
    assert flow.response.status_code == 503
    assert services.calls.of(flow).policy_result == "deny"


async def test_a_response_that_cannot_be_checked_does_not_reach_the_client(play, monkeypatch, caplog):
    break_method(monkeypatch, "refusal_of_response")
    (_, status, body), (seen,), (*_, event) = await play()
    assert (status, event["status"], event["outcome"]) == (503, 503, "upstream_error")
    assert "choices" not in body
    assert seen.headers
    assert QUOTED not in caplog.text


def test_a_stream_error_that_cannot_be_built_is_left_out(monkeypatch):
    break_method(monkeypatch, "stream_error")
    break_method(monkeypatch, "report_end")
    services, flow = Services(), tflow.tflow(resp=True)
    delegate = CallDelegate(services)
    services.calls.open(flow)
    assert delegate.stream_error(flow, Refusal(504, "late", "Late.")) is None
    assert delegate.report_end(flow, "timeout") is None


async def test_a_response_passes_without_redacted_headers_that_cannot_be_restored(play, monkeypatch):
    break_method(monkeypatch, "response_head")
    (_, status, body), _, (event,) = await play()
    assert (status, body["object"], event["outcome"]) == (200, "chat.completion", "completed")


def test_a_safe_traceback_has_types_places_and_causes():
    def read():
        raise ValueError(QUOTED)

    try:
        try:
            read()
        except ValueError as error:
            raise KeyError(QUOTED) from error
    except KeyError as error:
        text = safe_traceback(error)
    assert text.startswith("KeyError at test_fail_closed.py:")
    assert "caused by ValueError at test_fail_closed.py:" in text
    assert " in read < " in text
    assert QUOTED not in text
