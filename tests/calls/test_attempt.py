"""Each attempt is built from the client's request and keeps nothing of the previous attempt."""

import asyncio
import time

import pytest
from mitmproxy.connection import Server
from mitmproxy.test import tflow, tutils
from msgspec import structs

from tests.support.configuration import loaded
from wirekey.core.addons.credentials import Credentials, record_response
from wirekey.core.addons.recognition import Recognition
from wirekey.core.addons.routing import Routing
from wirekey.core.call import Agent, FailureKind
from wirekey.core.calls.attempt import prepare_attempt
from wirekey.core.calls.service_parts import add_services_of_features
from wirekey.core.calls.services import Services
from wirekey.core.calls.settings import build
from wirekey.core.calls.wire_request import wire_request
from wirekey.core.errors import Refusal
from wirekey.core.routing.plan import Failure
from wirekey.feature import FeatureValues
from wirekey.features.translation.state import StateReader
from wirekey.providers.registry import PROVIDERS

KEYS = {"A": "key-of-openai-1", "B": "key-of-openai-2", "G": "key-of-gemini", "R": "key-of-the-route"}
PROVIDERS_TEXT = "providers: {openai: {keys: [env:A, env:B], selection: TURNS}, gemini: {keys: [env:G]}}\n"


def complete(waiting):
    """Wait for what is left to be awaited, if anything is."""
    if waiting is not None:
        asyncio.run(waiting)


CHAT = b'{"messages":[],\n "model" : "gpt-4o"}'


class Sent:
    """A call that is ready for the wire layer."""

    def __init__(
        self,
        folder,
        text="",
        *,
        line="POST /v1/chat/completions",
        body=CHAT,
        provider="openai",
        headers=(),
        selection="round-robin",
        providers=PROVIDERS_TEXT,
    ):
        self.services = Services()
        add_services_of_features(self.services)
        self.services.opened = FeatureValues.of([StateReader(b"a key")])
        self.services.settings = build(loaded(folder, providers.replace("TURNS", selection) + text, KEYS))
        method, _, path = line.partition(" ")
        host = {"openai": "api.openai.com", "gemini": "generativelanguage.googleapis.com"}[provider]
        fields = ((b"Host", host.encode()), (b"content-type", b"application/json"), *headers)
        request = tutils.treq(method=method.encode(), path=path.encode(), host=host, port=443, headers=fields)
        self.flow = tflow.tflow(req=request)
        self.call = self.services.calls.open(self.flow)
        self.state = self.services.calls.state(self.flow)
        self.call.provider, self.call.agent = provider, Agent("alice")
        self.state.host, self.state.body = host, body
        self.call.operation = PROVIDERS[provider].operations.match_operation(method, path.partition("?")[0], {})
        self.call.reads_body = bool(body)
        Recognition(self.services).admit(self.flow, self.call)

    def admitted(self, wanted=None):
        self.state.wanted_model = wanted
        Routing(self.services).admit(self.flow, self.call)
        complete(Credentials(self.services).admit(self.flow, self.call))
        self.services.calls.redact(self.flow)
        return self

    def failed(self, kind=FailureKind.RESET, status=None):
        if status:
            record_response(self.services, self.state, status, tutils.tresp().headers)
        choice = self.state.plan.after(Failure(kind, status), time.monotonic())
        if choice is None:
            return False
        complete(prepare_attempt(self.services, self.flow, choice))
        return True

    def on_the_wire(self):
        upstream = self.state.attempt.upstream
        server = Server(address=(upstream.host, upstream.port))
        server.sni, server.timestamp_tls_setup = upstream.host, 1.0
        server.tls = True
        return wire_request(self.services, self.state, server)


def fields(request):
    return {name.decode().lower(): value.decode() for name, value in request.headers.fields}


def test_without_a_route_the_call_is_sent_unchanged_with_a_key(tmp_path):
    sent = Sent(tmp_path).admitted()
    request, body = sent.on_the_wire()
    assert body is CHAT
    assert (request.path, fields(request)["host"]) == ("/v1/chat/completions", "api.openai.com")
    assert fields(request)["authorization"] == "Bearer key-of-openai-1"
    call = sent.call
    assert (call.model, call.route, call.credential, call.upstream) == ("gpt-4o", None, "openai/1", "api.openai.com")


def test_the_next_attempt_has_the_next_key_and_the_bytes_of_the_first(tmp_path):
    sent = Sent(tmp_path, "failover: {max_retry_after: 0}").admitted()
    first = sent.on_the_wire()
    assert sent.failed(FailureKind.STATUS, 429)
    second = sent.on_the_wire()
    assert second[1] == first[1] == CHAT
    assert fields(second[0])["authorization"] == "Bearer key-of-openai-2"
    assert sent.call.credential == "openai/2"
    assert sent.services.settings.pools["openai"].keys[0].cooling_until > 0
    assert not sent.failed()


ROUTES = """
failover: {max_attempts: 5, max_retry_after: 0}
routes:
  - {match: gpt-4o, model: 'first?temperature=0.5', upstream_url: 'https://one.example', auth: x-api-key, keys: [env:R],
     fallback: ['gemini:gemini-2.5-flash', plain]}
"""


def test_each_candidate_rewrites_the_original_with_its_own_origin_and_credential(tmp_path):
    sent = Sent(tmp_path, ROUTES).admitted()
    shown = []
    while True:
        request, body = sent.on_the_wire()
        known = fields(request)
        credential = [known.get(name) for name in ("x-api-key", "authorization")]
        shown.append((known["host"], request.path, body, credential, sent.call.model, sent.call.credential))
        assert (sent.flow.request.data.host, sent.call.upstream) == (sent.state.attempt.upstream.host,) * 2
        assert int(known["content-length"]) == len(body)
        if not sent.failed():
            break
    assert shown == [
        (
            "one.example",
            "/v1/chat/completions",
            b'{"temperature":0.5,"messages":[],\n "model" : "first"}',
            ["key-of-the-route", None],
            "first",
            "routes[0]/1",
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
            b'{"messages":[],\n "model" : "gemini-2.5-flash"}',
            [None, "Bearer key-of-gemini"],
            "gemini-2.5-flash",
            "gemini/1",
        ),
        *(
            (
                "api.openai.com",
                "/v1/chat/completions",
                b'{"messages":[],\n "model" : "plain"}',
                [None, f"Bearer key-of-openai-{number}"],
                "plain",
                f"openai/{number}",
            )
            for number in (1, 2)
        ),
    ]
    assert sent.call.route == "routes[0]"


def test_the_body_is_kept_as_long_as_another_attempt_may_need_it(tmp_path):
    sent = Sent(tmp_path, "failover: {max_retry_after: 0}").admitted()
    sent.on_the_wire()
    assert sent.state.body == sent.state.attempt.body == CHAT
    sent.failed()
    sent.on_the_wire()
    assert (sent.state.body, sent.state.attempt.body) == (b"", b"")


def test_each_attempt_requests_stream_usage_if_its_provider_offers_it(tmp_path):
    body = b'{"stream":true,"model":"gpt-4o"}'
    sent = Sent(tmp_path, ROUTES, body=body).admitted()
    asked = []
    while True:
        asked.append((sent.state.attempt.usage_requested, b"include_usage" in sent.on_the_wire()[1]))
        if not sent.failed():
            break
    assert asked == [(True, True), (False, False), (True, True), (True, True)]


def test_an_operation_with_side_effects_is_sent_once(tmp_path):
    sent = Sent(tmp_path, line="POST /v1/batches", body=b'{"input_file_id":"f"}').admitted()
    sent.on_the_wire()
    assert sent.state.body == sent.state.attempt.body == b""
    assert not sent.failed(FailureKind.STATUS, 503)


MODELS = [
    # configuration, model that the policy requires, model that is sent
    ("", None, "gpt-4o"),
    ("model_override: all", None, "all"),
    ("model_override: all\nroutes: [{match: 'gpt-*', model: routed}]", None, "routed"),
    ("model_override: all\nroutes: [{match: 'gpt-*', model: routed}]", "demanded", "demanded"),
]


@pytest.mark.parametrize(("text", "wanted", "sent"), MODELS)
@pytest.mark.parametrize("named", [True, False])
def test_the_policy_wins_over_the_route_and_the_route_over_the_override(tmp_path, text, wanted, sent, named):
    body = CHAT if named else b'{"messages":[]}'
    routed = Sent(tmp_path, text.replace("gpt-*", "*"), body=body).admitted(wanted)
    if not named and sent == "gpt-4o":
        sent = None
    assert routed.call.model == sent
    facts = PROVIDERS["openai"].operations.read_request(
        routed.call.operation, {}, "application/json", routed.on_the_wire()[1]
    )
    assert facts.model == sent


def test_a_call_without_a_model_gets_the_model_that_the_policy_requires(tmp_path):
    body = b'{"contents":[]}'
    sent = Sent(tmp_path, line="POST /v1beta/cachedContents", body=body, provider="gemini").admitted("gemini-x")
    assert sent.on_the_wire()[1] == b'{"model":"models/gemini-x","contents":[]}'
    assert sent.call.model == "gemini-x"


@pytest.mark.parametrize("line", ["GET /v1/files", "GET /v1/models", "GET /v1/models/gpt-4o"])
def test_a_call_that_runs_no_model_is_unchanged_by_a_required_model(tmp_path, line):
    sent = Sent(tmp_path, "model_override: all", line=line, body=b"").admitted("demanded")
    request, _ = sent.on_the_wire()
    assert request.path == line.partition(" ")[2]
    assert sent.call.model in (None, "gpt-4o")


def test_a_parameter_of_a_route_stays_within_the_cap_of_the_policy(tmp_path):
    sent = Sent(tmp_path, "routes: [{match: '*', model: 'm?max_tokens=1000'}]")
    sent.state.cap = 10
    assert b'"max_completion_tokens":10,' in sent.admitted().on_the_wire()[1]


def test_a_route_parameter_that_the_operation_does_not_accept_is_refused(tmp_path):
    sent = Sent(tmp_path, "model_override: 'm?top_k=1'")
    with pytest.raises(Refusal, match=r"the parameter top_k, which .* does not take") as refused:
        sent.admitted()
    assert (refused.value.status, refused.value.code) == (403, "cannot_override")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "translation: {enabled: false}\nroutes: [{match: '*', provider: anthropic}]",
            "does not answer chat.completions in the format of openai",
        ),
        ("routes: [{match: '*', auth: client}]", "X-OpenAI-Key"),
        ("routes: [{match: '*', provider: gemini, auth: client}]", "X-Gemini-Key"),
    ],
)
def test_a_call_that_cannot_be_sent_is_refused_with_the_reason(tmp_path, text, words):
    with pytest.raises(Refusal, match=words):
        Sent(tmp_path, text).admitted()


@pytest.mark.parametrize(
    ("named", "calls", "selected"),
    [
        ("null", [("alice", None), ("bob", None), ("alice", "s")], ["openai/1", "openai/2", "openai/1"]),
        ("X-Session", [("alice", "s"), ("alice", "t"), ("alice", "s")], ["openai/1", "openai/2", "openai/1"]),
        ("X-Session", [("alice", "s"), ("bob", "s"), ("alice", None)], ["openai/1", "openai/2", "openai/1"]),
    ],
)
def test_a_session_is_the_agent_or_a_header_value_within_the_agent(tmp_path, named, calls, selected):
    settings, found = None, []
    for agent, session in calls:
        headers = ((b"x-session", session.encode()),) if session else ()
        sent = Sent(tmp_path, f"session_affinity: {{header: {named}}}", headers=headers, selection="session-affinity")
        settings = sent.services.settings = settings or sent.services.settings
        sent.call.agent = Agent(agent)
        found.append(sent.admitted().call.credential)
    assert found == selected


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("gpt-4o?temperature=0.5", "/v1/chat/completions", b'{"temperature":0.5,"model":"gpt-4o"}'),
        ("openai:gpt-4o", "/v1/chat/completions", b'{"model":"gpt-4o"}'),
        (
            "gemini:gemini-2.5-pro?temperature=0.7",
            "/v1beta/openai/chat/completions",
            b'{"temperature":0.7,"model":"gemini-2.5-pro"}',
        ),
    ],
)
def test_the_provider_and_parameters_in_a_model_name_are_applied(tmp_path, name, path, body):
    sent = Sent(tmp_path, body=b'{"model":"%s"}' % name.encode())
    assert sent.call.facts.model == name.partition("?")[0].rpartition(":")[2]
    assert sent.call.provider == ("gemini" if "gemini" in path or "gemini" in name else "openai")
    request, on_wire = sent.admitted().on_the_wire()
    assert (request.path, on_wire) == (path, body)


def test_the_policy_sees_the_token_limit_in_a_model_name(tmp_path):
    assert Sent(tmp_path, body=b'{"model":"gpt-4o?max_tokens=5000"}').call.facts.max_tokens == 5000


@pytest.mark.parametrize(
    ("name", "code"),
    [("gpt-4o?tools=x", "malformed_body"), ("m?top_k=1", "malformed_body")],
)
def test_a_model_name_with_invalid_parameters_is_refused(tmp_path, name, code):
    with pytest.raises(Refusal) as refused:
        Sent(tmp_path, "translation: {enabled: false}", body=b'{"model":"%s"}' % name.encode())
    assert (refused.value.status, refused.value.code) == (400, code)


def test_a_provider_of_another_format_in_a_model_name_is_for_a_call_that_is_translated(tmp_path):
    call = Sent(tmp_path, body=b'{"model":"anthropic:claude"}').call
    assert (call.provider, call.backend, call.facts.model) == ("openai", "anthropic", "claude")


def test_a_backend_in_a_model_name_is_refused_unless_it_is_enabled(tmp_path):
    with pytest.raises(Refusal) as refused:
        Sent(tmp_path, body=b'{"model":"gemini-cli-acp:google/gemini-3"}')
    assert (refused.value.status, refused.value.code) == (403, "backend_not_enabled")


def test_a_clients_key_for_one_provider_is_never_sent_to_another(tmp_path):
    text = "routes: [{match: '*', provider: gemini, auth: client}]"
    sent = Sent(tmp_path, text)
    sent.state.client_credential_fields = ((b"X-OpenAI-Key", b"sk-of-the-client"),)
    with pytest.raises(Refusal, match="X-Gemini-Key"):
        sent.admitted()
    sent = Sent(tmp_path, text)
    sent.state.client_credential_fields = (
        (b"X-OpenAI-Key", b"sk-of-the-client"),
        (b"x-gemini-key", b"AIza-of-the-client"),
    )
    assert fields(sent.admitted().on_the_wire()[0])["authorization"] == "Bearer AIza-of-the-client"


def test_the_previous_attempt_stands_if_the_next_one_cannot_be_built(tmp_path):
    text = """
failover: {max_retry_after: 0}
routes:
  - {match: gpt-4o, model: first, provider: openai, keys: [env:R], fallback: [other]}
  - {match: other, auth: client}
"""
    sent = Sent(tmp_path, text).admitted()
    sent.on_the_wire()
    previous = sent.state.attempt
    with pytest.raises(Refusal, match="X-OpenAI-Key"):
        sent.failed()
    call = sent.call
    assert (call.credential, call.route, call.model, call.upstream) == (
        "routes[0]/1",
        "routes[0]",
        "first",
        "api.openai.com",
    )
    assert sent.state.attempt is previous
    assert sent.state.secrets == (b"key-of-the-route",)
    assert sent.state.attempt.planned.key.label == "routes[0]/1"


def test_a_credential_header_of_an_extension_is_masked_in_responses(tmp_path):
    sent = Sent(tmp_path).admitted()
    headers = ((b"X-Owner", b"alice"), (b"Authorization", b"Token token-of-the-extension"))
    sent.state.attempt = structs.replace(sent.state.attempt, key=None, added_headers=headers)
    assert sent.state.secrets == (b"token-of-the-extension",)


@pytest.mark.parametrize(
    ("routes", "temperature"),
    [("", b"1"), ("routes: [{match: 'gpt-4*', model: other}]\n", b"1.5"), ("routes: [{match: x, model: y}]\n", b"1")],
)
def test_a_temperature_is_clamped_by_the_model_that_is_sent(tmp_path, routes, temperature):
    body = b'{"model":"gpt-4o","temperature":1.5,"messages":[]}'
    sent = Sent(tmp_path, "clamp_temperature: ['gpt-4*']\n" + routes, body=body).admitted()
    assert b'"temperature":' + temperature + b"," in sent.state.attempt.body
    assert sent.state.body == body


def test_a_translated_attempt_keeps_no_content_but_the_body_that_is_sent(tmp_path):
    secret = "a prompt that is not to be kept"
    body = CHAT.replace(
        b'"messages":[',
        b'"messages":[{"role":"system","content":"' + secret.encode() + b'"},{"role":"user","content":"Hi"}',
    )
    sent = Sent(
        tmp_path, "routes: [{match: '*', provider: gemini, model: gemini-2.5-flash, speaks: gemini}]", body=body
    ).admitted()
    assert secret.encode() in sent.state.attempt.body
    sent.state.release_body()
    kept = sent.state.attempt.rewritten.request
    assert secret not in repr(kept) + repr(kept.conversation)
    assert (kept.body, kept.conversation.turns, kept.conversation.system) == (b"", (), ())


def test_a_call_of_another_provider_goes_to_the_first_host_of_the_one_of_its_route(tmp_path):
    text = "routes: [{match: '*', provider: bedrock, model: 'amazon.nova-lite-v1:0', keys: [env:R]}]"
    body = b'{"messages":[{"role":"user","content":"x"}], "model":"gpt-4o"}'
    attempt = Sent(tmp_path, text, body=body).admitted().state.attempt
    assert attempt.upstream.host == "bedrock-runtime.us-east-1.amazonaws.com"
    assert attempt.target == b"/model/amazon.nova-lite-v1%3A0/converse"
