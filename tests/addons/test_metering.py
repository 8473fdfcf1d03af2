"""What the client gets of an answer, and what the call's record learns from it."""

import gzip
import json
from dataclasses import replace

import brotli
import pytest
from mitmproxy.test import tflow, tutils

from wirekey.addons.credentials import Credentials
from wirekey.addons.metering import Metering, cost_of
from wirekey.body import Body
from wirekey.call import Call, Outcome
from wirekey.calls.attempt import wants_usage
from wirekey.calls.attempt_state import AttemptState
from wirekey.calls.services import Services
from wirekey.credentials.pool import KeyPool, ProviderKey
from wirekey.metering.cost import cost_usd
from wirekey.operation import Facts, Kind, Operation, Usage
from wirekey.providers import PROVIDERS
from wirekey.routing.candidate import Candidate, Upstream
from wirekey.routing.plan import Attempt
from wirekey.secret import Secret
from wirekey.signing.request import SigV4Credentials

KEY = "sk-provider-key-0123456789"
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]%b}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%b}\n\n'
USAGE = b'data: {"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100}}\n\n'
DONE = b"data: [DONE]\n\n"
NULL = b',"usage":null'
ASKED = [CHUNK % NULL, LAST % NULL, USAGE, DONE]
UNASKED = (CHUNK + LAST) % (b"", b"") + DONE


class Answer:
    """An answer on its way through the station, chunk by chunk, as mitmproxy hands it on."""

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
        self.addons_in_order = Credentials(self.services), Metering(self.services)
        for station in self.addons_in_order:
            station.responseheaders(self.flow)

    @property
    def headers(self):
        return self.flow.response.headers

    def passes(self, *chunks):
        out = [piece for chunk in chunks for piece in self.flow.response.stream(chunk)]
        assert b"" not in out
        return out

    def ends(self):
        out = self.passes(b"")
        for station in self.addons_in_order:
            station.response(self.flow)
        return out


def test_chunks_pass_as_they_are():
    answer = Answer()
    for chunk in ASKED:
        (out,) = answer.passes(chunk)
        assert out is chunk
    assert answer.ends() == []


def test_the_record_learns_tokens_bytes_time_and_cost():
    answer = Answer()
    answer.passes(*ASKED)
    answer.ends()
    call = answer.call
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.finish_reason) == (1000, 100, "stop")
    assert call.cost_usd == pytest.approx(0.00021)
    assert call.response_bytes == sum(map(len, ASKED))
    assert call.ttfb_ms >= 0
    assert (call.status, call.outcome) == (200, None)


def test_the_cost_is_that_of_the_model_asked_for_where_the_answer_names_one_that_has_no_price():
    answer = Answer()
    answer.passes(USAGE.replace(b"gpt-4o-mini", b"a-name-of-its-own"))
    answer.ends()
    assert answer.call.cost_usd == pytest.approx(0.00021)


def test_on_bedrock_the_price_is_that_of_the_region_asked_for():
    call = Call(provider="bedrock", model="global.anthropic.claude-sonnet-4-5-20250929-v1:0")
    usage = Usage(input_tokens=1000, output_tokens=1000, model="claude-sonnet-4-5-20250929")
    bedrock = PROVIDERS["bedrock"]
    assert cost_of(call, usage) == cost_usd(bedrock, call.model, usage) < cost_usd(bedrock, usage.model, usage)


def test_a_call_of_no_provider_has_no_cost():
    assert cost_of(Call(model="gpt-4o"), Usage(input_tokens=1, output_tokens=1)) is None


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_a_compressed_answer_passes_as_it_is_and_is_read(encoding, compress):
    answer, body = Answer(content_encoding=encoding), compress(b"".join(ASKED))
    assert answer.passes(body[:50], body[50:]) == [body[:50], body[50:]]
    answer.ends()
    assert answer.headers["content-encoding"] == encoding
    assert answer.call.usage.input_tokens == 1000


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_usage_that_we_asked_for_is_taken_out_also_of_a_compressed_answer(encoding, compress):
    body = compress(b"".join(ASKED))
    answer = Answer(usage_requested=True, content_encoding=encoding, content_length=str(len(body)))
    assert b"".join(answer.passes(body[:50], body[50:]) + answer.ends()) == UNASKED
    assert answer.call.usage.input_tokens == 1000
    assert answer.call.response_bytes == len(body)
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers
    assert answer.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize(("version", "framing"), [("HTTP/1.1", "chunked"), ("HTTP/2.0", None), ("HTTP/1.0", None)])
def test_an_answer_that_gets_shorter_is_framed_as_the_client_can_read_it(version, framing):
    answer = Answer(usage_requested=True, version=version, content_length="999")
    assert "content-length" not in answer.headers
    assert answer.headers.get("transfer-encoding") == framing
    assert b"".join(answer.passes(*ASKED) + answer.ends()) == UNASKED


def test_an_encoding_that_cannot_be_undone_passes_unread_where_no_key_was_sent():
    answer = Answer(usage_requested=True, keyless=True, content_encoding="gzip, br")
    assert answer.passes(b"whatever") == [b"whatever"]
    answer.ends()
    assert (answer.call.usage, answer.call.outcome) == (None, None)
    assert answer.headers["content-encoding"] == "gzip, br"


def test_an_encoding_that_cannot_be_undone_is_removed_where_a_key_was_sent():
    answer = Answer(content_encoding="gzip, br")
    assert answer.passes(b"whatever") + answer.ends() == []


def test_a_stream_from_which_nothing_can_be_taken_out_any_more_ends_with_an_error():
    answer, body = Answer(usage_requested=True, content_encoding="gzip"), gzip.compress(b"".join(ASKED))
    out = answer.passes(body[:-20], b"\0" * 40, body)
    assert json.loads(out[-1].strip().removeprefix(b"data: "))["error"]["message"].startswith("The response broke off")
    assert answer.passes(b"more") == []
    assert answer.ends() == []


def test_a_stream_that_lacks_its_end_is_truncated():
    answer = Answer()
    answer.passes(CHUNK % b"")
    answer.ends()
    assert answer.call.outcome is Outcome.TRUNCATED


def test_a_client_that_leaves_at_the_providers_error_has_not_cancelled_the_call():
    answer = Answer()
    answer.passes(CHUNK % b"", b'data: {"error":{"type":"server_error","message":"no"}}\n\n')
    answer.call.outcome = Outcome.CLIENT_CANCELLED
    Metering(answer.services).error(answer.flow)
    assert (answer.call.outcome, answer.call.policy_reason) == (Outcome.UPSTREAM_ERROR, "server_error")


WHOLE = b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":6,"completion_tokens":9}}'


@pytest.mark.parametrize(
    ("came", "outcome"), [(WHOLE, Outcome.COMPLETED), (WHOLE[:-1], Outcome.CLIENT_CANCELLED)], ids=["whole", "cut"]
)
def test_a_client_that_leaves_with_the_whole_response_has_not_cancelled_the_call(came, outcome):
    """Over HTTP/2 the end of a stream may come in a packet of its own, for which curl does not wait."""
    answer = Answer(content_type="application/json")
    answer.call.facts = Facts(model="gpt-4o-mini", stream=False)
    answer.passes(came)
    answer.call.outcome = Outcome.CLIENT_CANCELLED
    Metering(answer.services).error(answer.flow)
    assert answer.call.outcome is outcome


def test_what_came_before_the_client_went_away_is_recorded():
    answer = Answer()
    answer.passes(CHUNK % b"")
    Metering(answer.services).error(answer.flow)
    assert (answer.call.response_bytes, answer.call.outcome) == (len(CHUNK % b""), None)


ERROR = b'{"error":{"message":"Incorrect API key: %b.","type":"invalid_request_error"}}' % KEY.encode()
MASKED = ERROR.replace(KEY.encode(), b"*" * len(KEY))


@pytest.mark.parametrize(
    ("encoding", "compress"), [("identity", bytes), ("gzip", gzip.compress), ("br", brotli.compress)]
)
def test_an_error_that_quotes_our_key_is_masked(encoding, compress):
    answer, body = Answer(401, content_type="application/json", content_encoding=encoding), compress(ERROR)
    assert b"".join(answer.passes(body[:40], body[40:]) + answer.ends()) == MASKED


TOKEN = "IQoJb3JpZ2luX2VjE/+" + "IQoJb3JpZ2lu" * 90 + "=="
REFUSED = b'{"message":"The security token %b included in the request is invalid"}' % TOKEN.encode()


@pytest.mark.parametrize("size", [1, 7, 500, 5000])
@pytest.mark.parametrize("compress", [None, gzip.compress])
def test_C6_an_error_that_quotes_our_session_token_is_masked_however_it_is_cut(compress, size):
    more = {"content_encoding": "gzip"} if compress else {}
    pair = SigV4Credentials("AKIAEXAMPLE", Secret("aws-secret"), Secret(TOKEN))
    answer = Answer(403, "bedrock", aws=pair, content_type="application/json", x_quoted=f"<{TOKEN}>", **more)
    body = compress(REFUSED) if compress else REFUSED
    out = answer.passes(*(body[at : at + size] for at in range(0, len(body), size))) + answer.ends()
    assert b"".join(out) == REFUSED.replace(TOKEN.encode(), b"*" * len(TOKEN))
    assert answer.headers["x-quoted"] == f"<{'*' * len(TOKEN)}>"


def test_an_error_to_what_was_signed_with_a_pair_that_lasts_passes_as_it_is():
    answer = Answer(403, "bedrock", aws=SigV4Credentials("AKIAEXAMPLE", Secret("aws-secret")))
    assert answer.passes(REFUSED) == [REFUSED]


def test_an_error_that_cannot_be_read_is_removed():
    answer = Answer(401, content_type="application/json", content_encoding="gzip, gzip", content_length="5")
    assert answer.passes(b"12345") + answer.ends() == []
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(("reason", "rests"), [(b"API_KEY_INVALID", True), (b"INVALID_ARGUMENT", False)])
def test_a_key_that_gemini_refuses_in_words_rests(reason, rests):
    body = b'{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"%b"}]}}' % reason
    answer = Answer(400, provider="gemini", content_type="application/json")
    assert b"".join(answer.passes(body[:70], body[70:])) == body
    answer.ends()
    assert (answer.state.attempt.key.cooling_until > 0) is rests


def test_a_reader_that_fails_does_not_disturb_the_stream(monkeypatch):
    answer = Answer()
    monkeypatch.setattr(answer.state.tap.tap.reader, "feed", None)
    assert answer.passes(*ASKED) == ASKED
    answer.ends()
    assert answer.call.response_bytes == sum(map(len, ASKED))


@pytest.mark.parametrize(
    ("settings", "candidate", "asks"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_usage_is_asked_for_where_the_client_did_not_and_the_route_or_else_the_settings_want_it(
    settings, candidate, asks
):
    answer = Answer()
    answer.services.settings = replace(answer.services.settings, include_stream_usage=settings)
    assert wants_usage(answer.services.settings, answer.call, Candidate("openai", asks_usage=candidate)) is asks
