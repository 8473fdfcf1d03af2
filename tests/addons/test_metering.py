"""The part of a response that reaches the client, and what metering records from it."""

import gzip
import json
from dataclasses import replace

import brotli
import pytest
from mitmproxy.test import tflow, tutils

from wirekey.core.addons.credentials import Credentials
from wirekey.core.addons.metering import Metering, cost_of, has_all_counts
from wirekey.core.body import Body
from wirekey.core.call import Call, Outcome
from wirekey.core.calls.attempt import wants_usage
from wirekey.core.calls.attempt_state import AttemptState
from wirekey.core.calls.services import Services
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.metering.cost import cost_usd
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.core.routing.candidate import Candidate, Upstream
from wirekey.core.routing.plan import Attempt
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials
from wirekey.providers.registry import PROVIDERS

KEY = "sk-provider-key-0123456789"
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]%b}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%b}\n\n'
USAGE = b'data: {"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100}}\n\n'
DONE = b"data: [DONE]\n\n"
NULL = b',"usage":null'
ASKED = [CHUNK % NULL, LAST % NULL, USAGE, DONE]
UNASKED = (CHUNK + LAST) % (b"", b"") + DONE


class Response:
    """A response that passes through the addons chunk by chunk, as mitmproxy passes it."""

    def __init__(  # noqa: PLR0917  # in the order in which tests name them
        self,
        status=200,
        provider="openai",
        usage_requested=False,
        version="HTTP/1.1",
        aws=None,
        keyless=False,
        **headers,
    ):
        self.services = Services()
        request = tutils.treq(http_version=version.encode())
        self.flow = tflow.tflow(req=request, resp=True)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.flow.response = tutils.tresp(status_code=status, headers=(), content=None)
        self.flow.response.headers.update({"content-type": "text/event-stream", **fields})
        self.call = self.services.calls.open(self.flow)
        self.call.provider, self.call.operation, self.call.model = provider, CHAT, "gpt-4o-mini"
        self.call.facts = Facts(model="gpt-4o-mini", stream=True, asks_usage=False)
        self.call.attempts = 1
        self.state = self.services.calls.state(self.flow)
        pool = KeyPool([ProviderKey(f"{provider}/1", Secret(KEY))])
        key = pool.keys[0] if aws is None and not keyless else None
        self.state.attempt = AttemptState(
            Attempt(Candidate(provider), key),
            Upstream("provider.example"),
            usage_requested=usage_requested,
            key=key,
            pool=pool,
            aws=aws,
        )
        self.addons = Credentials(self.services), Metering(self.services)
        for addon in self.addons:
            addon.responseheaders(self.flow)

    @property
    def headers(self):
        return self.flow.response.headers

    def passes(self, *chunks):
        out = [piece for chunk in chunks for piece in self.flow.response.stream(chunk)]
        assert b"" not in out
        return out

    def ends(self):
        out = self.passes(b"")
        for addon in self.addons:
            addon.response(self.flow)
        return out


def test_a_response_head_is_cleaned_even_if_recording_it_fails(monkeypatch):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("wirekey.core.addons.credentials.record_response", fail)
    response = Response(x_quoted=KEY)
    assert KEY not in str(response.headers.fields)


def test_chunks_pass_unchanged():
    response = Response()
    for chunk in ASKED:
        (out,) = response.passes(chunk)
        assert out is chunk
    assert response.ends() == []


def test_tokens_bytes_time_and_cost_are_recorded():
    response = Response()
    response.passes(*ASKED)
    response.ends()
    call = response.call
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.finish_reason) == (1000, 100, "stop")
    assert call.cost_usd == pytest.approx(0.00021)
    assert call.response_bytes == sum(map(len, ASKED))
    assert call.ttfb_ms >= 0
    assert (call.status, call.outcome) == (200, None)


def test_the_requested_model_sets_the_cost_if_the_responses_model_has_no_price():
    response = Response()
    response.passes(USAGE.replace(b"gpt-4o-mini", b"a-name-of-its-own"))
    response.ends()
    assert response.call.cost_usd == pytest.approx(0.00021)


def test_on_bedrock_the_price_is_that_of_the_requested_region():
    call = Call(provider="bedrock", model="global.anthropic.claude-sonnet-4-5-20250929-v1:0")
    usage = Usage(input_tokens=1000, output_tokens=1000, model="claude-sonnet-4-5-20250929")
    bedrock = PROVIDERS["bedrock"]
    assert cost_of(call, usage) == cost_usd(bedrock, call.model, usage) < cost_usd(bedrock, usage.model, usage)


def test_a_call_without_a_provider_has_no_cost():
    assert cost_of(Call(model="gpt-4o"), Usage(input_tokens=1, output_tokens=1)) is None


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_a_compressed_response_is_read_and_passes_unchanged(encoding, compress):
    response, body = Response(content_encoding=encoding), compress(b"".join(ASKED))
    assert response.passes(body[:50], body[50:]) == [body[:50], body[50:]]
    response.ends()
    assert response.headers["content-encoding"] == encoding
    assert response.call.usage.input_tokens == 1000


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_usage_that_wirekey_requested_is_removed_from_a_compressed_response(encoding, compress):
    body = compress(b"".join(ASKED))
    response = Response(usage_requested=True, content_encoding=encoding, content_length=str(len(body)))
    assert b"".join(response.passes(body[:50], body[50:]) + response.ends()) == UNASKED
    assert response.call.usage.input_tokens == 1000
    assert response.call.response_bytes == len(body)
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert response.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize(("version", "framing"), [("HTTP/1.1", "chunked"), ("HTTP/2.0", None), ("HTTP/1.0", None)])
def test_a_shortened_response_has_a_framing_that_the_client_can_read(version, framing):
    response = Response(usage_requested=True, version=version, content_length="999")
    assert "content-length" not in response.headers
    assert response.headers.get("transfer-encoding") == framing
    assert b"".join(response.passes(*ASKED) + response.ends()) == UNASKED


def test_an_unknown_encoding_passes_unread_if_no_key_was_sent():
    response = Response(usage_requested=True, keyless=True, content_encoding="gzip, br")
    assert response.passes(b"whatever") == [b"whatever"]
    response.ends()
    assert (response.call.usage, response.call.outcome) == (None, None)
    assert response.headers["content-encoding"] == "gzip, br"


def test_an_unknown_encoding_is_removed_if_a_key_was_sent():
    response = Response(content_encoding="gzip, br")
    assert response.passes(b"whatever") + response.ends() == []


def test_a_stream_that_can_no_longer_be_edited_ends_with_an_error():
    response, body = Response(usage_requested=True, content_encoding="gzip"), gzip.compress(b"".join(ASKED))
    out = response.passes(body[:-20], b"\0" * 40, body)
    assert json.loads(out[-1].strip().removeprefix(b"data: "))["error"]["message"].startswith("The response broke off")
    assert response.passes(b"more") == []
    assert response.ends() == []


def test_a_stream_without_its_end_is_truncated():
    response = Response()
    response.passes(CHUNK % b"")
    response.ends()
    assert response.call.outcome is Outcome.TRUNCATED


def test_a_disconnect_at_the_providers_error_is_not_a_cancellation():
    response = Response()
    response.passes(CHUNK % b"", b'data: {"error":{"type":"server_error","message":"no"}}\n\n')
    response.call.outcome = Outcome.CLIENT_CANCELLED
    Metering(response.services).error(response.flow)
    assert (response.call.outcome, response.call.policy_reason) == (Outcome.UPSTREAM_ERROR, "server_error")


WHOLE = b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":6,"completion_tokens":9}}'


@pytest.mark.parametrize(
    ("came", "outcome"), [(WHOLE, Outcome.COMPLETED), (WHOLE[:-1], Outcome.CLIENT_CANCELLED)], ids=["whole", "cut"]
)
def test_a_disconnect_after_the_whole_response_is_not_a_cancellation(came, outcome):
    """Over HTTP/2 the end of a stream may arrive in a separate packet, and curl does not wait for it."""
    response = Response(content_type="application/json")
    response.call.facts = Facts(model="gpt-4o-mini", stream=False)
    response.passes(came)
    response.call.outcome = Outcome.CLIENT_CANCELLED
    Metering(response.services).error(response.flow)
    assert response.call.outcome is outcome


@pytest.mark.parametrize(
    ("length", "outcome"), [("4", Outcome.COMPLETED), ("5", Outcome.CLIENT_CANCELLED)], ids=["whole", "cut"]
)
def test_a_disconnect_after_all_bytes_of_a_response_that_is_not_read_is_not_a_cancellation(length, outcome):
    response = Response(content_type="application/octet-stream", content_length=length)
    response.passes(b"file")
    response.call.outcome = Outcome.CLIENT_CANCELLED
    Metering(response.services).error(response.flow)
    assert response.call.outcome is outcome


def test_bytes_before_a_disconnect_of_the_client_are_recorded():
    response = Response()
    response.passes(CHUNK % b"")
    Metering(response.services).error(response.flow)
    assert (response.call.response_bytes, response.call.outcome) == (len(CHUNK % b""), None)


ERROR = b'{"error":{"message":"Incorrect API key: %b.","type":"invalid_request_error"}}' % KEY.encode()
MASKED = ERROR.replace(KEY.encode(), b"*" * len(KEY))


@pytest.mark.parametrize(
    ("encoding", "compress"), [("identity", bytes), ("gzip", gzip.compress), ("br", brotli.compress)]
)
def test_a_key_quoted_in_an_error_is_masked(encoding, compress):
    response, body = Response(401, content_type="application/json", content_encoding=encoding), compress(ERROR)
    assert b"".join(response.passes(body[:40], body[40:]) + response.ends()) == MASKED


TOKEN = "IQoJb3JpZ2luX2VjE/+" + "IQoJb3JpZ2lu" * 90 + "=="
REFUSED = b'{"message":"The security token %b included in the request is invalid"}' % TOKEN.encode()


@pytest.mark.parametrize("size", [1, 7, 500, 5000])
@pytest.mark.parametrize("compress", [None, gzip.compress])
def test_C6_an_error_that_quotes_our_session_token_is_masked_however_it_is_cut(compress, size):
    more = {"content_encoding": "gzip"} if compress else {}
    pair = SigV4Credentials("AKIAEXAMPLE", Secret("aws-secret"), Secret(TOKEN))
    response = Response(403, "bedrock", aws=pair, content_type="application/json", x_quoted=f"<{TOKEN}>", **more)
    body = compress(REFUSED) if compress else REFUSED
    out = response.passes(*(body[at : at + size] for at in range(0, len(body), size))) + response.ends()
    assert b"".join(out) == REFUSED.replace(TOKEN.encode(), b"*" * len(TOKEN))
    assert response.headers["x-quoted"] == f"<{'*' * len(TOKEN)}>"


def test_an_error_to_a_request_signed_with_a_long_term_pair_passes_unchanged():
    response = Response(403, "bedrock", aws=SigV4Credentials("AKIAEXAMPLE", Secret("aws-secret")))
    assert response.passes(REFUSED) == [REFUSED]


def test_an_error_that_cannot_be_read_is_removed():
    response = Response(401, content_type="application/json", content_encoding="gzip, gzip", content_length="5")
    assert response.passes(b"12345") + response.ends() == []
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize(("reason", "cools_down"), [(b"API_KEY_INVALID", True), (b"INVALID_ARGUMENT", False)])
def test_a_key_that_gemini_rejects_in_the_body_cools_down(reason, cools_down):
    body = b'{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"%b"}]}}' % reason
    response = Response(400, provider="gemini", content_type="application/json")
    assert b"".join(response.passes(body[:70], body[70:])) == body
    response.ends()
    assert (response.state.attempt.key.cooling_until > 0) is cools_down


def test_a_failed_reader_does_not_disturb_the_stream(monkeypatch):
    response = Response()
    monkeypatch.setattr(response.state.tap.tap.reader, "feed", None)
    assert response.passes(*ASKED) == ASKED
    response.ends()
    assert response.call.response_bytes == sum(map(len, ASKED))


@pytest.mark.parametrize(
    ("settings", "candidate", "asks"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_usage_is_requested_by_route_or_settings_if_the_client_did_not(settings, candidate, asks):
    response = Response()
    response.services.settings = replace(response.services.settings, include_stream_usage=settings)
    assert wants_usage(response.services.settings, response.call, Candidate("openai", asks_usage=candidate)) is asks


START = b'data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
SAID = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}\n\n'
DELTA = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}\n\n'
STOP = b'data: {"type":"message_stop"}\n\n'
COUNTS = b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":%d}'
PART = b'data: {"candidates":[{"index":0}],%b}\n\n' % (COUNTS % 1)
FIRST_ENDS = b'data: {"candidates":[{"index":0,"finishReason":"STOP"}],%b}\n\n' % (COUNTS % 5)
FAILED = b'data: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
MESSAGES = "anthropic", Operation("messages", Body.JSON, Kind.INFERENCE)
GENERATE = "gemini", Operation("streamGenerateContent", Body.JSON, Kind.INFERENCE, "gemini-2.5-flash", stream=True)


@pytest.mark.parametrize(
    ("asked", "events", "broke_off", "facts", "has_all"),
    [
        # Anthropic counts the input and one token of output at the start.
        (MESSAGES, [START, SAID], True, {}, False),
        (MESSAGES, [START, SAID], False, {}, False),
        (MESSAGES, [START, SAID, DELTA], True, {}, True),
        (MESSAGES, [START, SAID, DELTA, STOP], True, {}, True),
        (MESSAGES, [START, SAID, DELTA, STOP], False, {}, True),
        (MESSAGES, [START, FAILED], True, {}, True),
        # Google counts again in each part.
        (GENERATE, [PART, PART], True, {}, False),
        (GENERATE, [PART, FIRST_ENDS], True, {}, True),
        (GENERATE, [PART, FIRST_ENDS], True, {"choices": 2}, False),
        (GENERATE, [PART, FIRST_ENDS], False, {"choices": 2}, True),
    ],
)
def test_R42_only_the_counts_at_the_end_of_a_response_are_all(asked, events, broke_off, facts, has_all):
    provider, operation = asked
    facts = Facts(stream=True, **facts)
    reader = PROVIDERS[provider].operations.response_reader(operation, facts, 200, "text/event-stream")
    for event in events:
        reader.feed(event)
    reader.end()
    assert reader.usage.input_tokens == 9
    assert has_all_counts(Call(facts=facts), reader, broke_off=broke_off) is has_all


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_R42_the_counts_of_a_response_in_the_background_are_not_believed_before_it_ends(status):
    body = b'{"object":"response","status":"%b","usage":{"input_tokens":0,"output_tokens":0}}' % status.encode()
    reader = PROVIDERS["openai"].operations.response_reader(
        Operation("responses", Body.JSON, Kind.INFERENCE), Facts(), 200, "application/json"
    )
    reader.feed(body)
    reader.end()
    assert reader.usage.input_tokens is None
    assert reader.usage.finish_reason == status
