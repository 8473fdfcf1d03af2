"""Every pair of formats, feature by feature: the hand-written form of one becomes that of the other."""

import json
from itertools import count

import pytest

from tests.features.translation import request_forms, response_forms
from tests.features.translation.cases import STATES
from tests.features.translation.matching import match_exactly
from tests.features.translation.sdk_types import check_event, check_request, check_response
from tests.features.translation.streams import client_events, cut, fold, upstream_bytes
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator, translate_response

PAIRS = [(client, upstream) for client in FORMATS for upstream in FORMATS if client != upstream]
ASKED = [
    (client, upstream, feature)
    for client, upstream in PAIRS
    for feature in request_forms.FEATURES
    if request_forms.asked(client, feature)
]


def translated(client, upstream, feature, *, stream=False):
    body = {"model": "a-model", **request_forms.asked(client, feature)}
    if client in ("gemini", "converse", "invoke"):
        del body["model"]
    elif stream:
        body["stream"] = True
        if client == "openai.chat":
            body["stream_options"] = {"include_usage": True}
    model = request_forms.model_for(upstream, feature)
    return translate_request(
        FORMATS[client], FORMATS[upstream], model, json.dumps(body, separators=(",", ":")).encode(), STATES
    )


@pytest.mark.parametrize(("client", "upstream", "feature"), ASKED)
def test_a_request_is_what_the_upstream_documents(client, upstream, feature):
    if (upstream, feature) in request_forms.REFUSED:
        with pytest.raises(Refusal, match="stop"):
            translated(client, upstream, feature)
        return
    found = json.loads(translated(client, upstream, feature).body)
    match_exactly(request_forms.expected(client, upstream, feature), found)
    check_request(upstream, found)


ANSWERED = [(*pair, feature) for pair in PAIRS for feature in response_forms.FEATURES]
MAKERS = {"gemini": "gemini", "anthropic": "claude", "invoke": "claude", "converse": "claude",
          "openai.responses": "openai", "openai.chat": ""}  # fmt: skip


def reply(client, upstream, feature, *, stream=False):
    thinks = response_forms.FEATURES[feature].thought
    request = translated(client, upstream, "reasoning" if thinks else "tools", stream=stream)
    numbers = count(1)
    make_id = lambda: f"{next(numbers):024}"  # noqa: E731
    return Reply(request.context, request.conversation, STATES, 1767225600, make_id, "alt=sse")


def check(client, upstream, feature, found):
    """Check what a program reads of a response, against what was said."""
    said = response_forms.FEATURES[feature]
    finish, text, thought, calls, usage = response_forms.seen(client, found)
    assert finish == response_forms.FINISH[client][said.finish]
    assert text == said.text
    assert thought == said.thought
    assert [(name, given) for _, name, given in calls] == [(name, json.loads(given)) for _, name, given in said.calls]
    ids = [key for key, _, _ in calls]
    assert len(set(ids)) == len(ids)
    behind_id = client == "openai.chat" and said.thought and response_forms.STATES[upstream]
    if behind_id and calls:
        assert "_wk1_" in ids[0]
    elif upstream != "gemini":
        assert ids == [key for key, _, _ in said.calls]
    unknown = "converse" in (client, upstream)
    assert usage == (100, 40, 20, None if unknown else 5)
    check_state(client, upstream, said, json.dumps(found, ensure_ascii=False))


def check_state(client, upstream, said, text):
    """Check that reasoning keeps its state: as it is if the client's own provider made it, else signed."""
    state = response_forms.STATES[upstream]
    own = MAKERS[client] == MAKERS[upstream] != ""
    if not said.thought or client == "openai.chat":
        assert client == "gemini" or "wk1_" not in text or said.calls
        return
    assert (state is not None and own) == (state is not None and state in text)
    if not own:
        assert ("V0sx" if client == "gemini" else "wk1_") in text or state is None


@pytest.mark.parametrize(("client", "upstream", "feature"), ANSWERED)
def test_a_response_says_the_same(client, upstream, feature):
    body = json.dumps(response_forms.whole(upstream, feature)).encode()
    found = translate_response(200, body, reply(client, upstream, feature))
    assert found.status == 200
    response = json.loads(found.body)
    check_response(client, response)
    check(client, upstream, feature, response)


@pytest.mark.parametrize(("client", "upstream", "feature"), ANSWERED)
def test_a_stream_says_the_same(client, upstream, feature):
    translator = StreamTranslator(reply(client, upstream, feature, stream=True))
    data = upstream_bytes(upstream, response_forms.events(upstream, feature))
    found = b"".join(map(translator.feed, cut(data, 100))) + translator.end()
    assert translator.failure is None
    for event in client_events(client, found):
        check_event(client, event)
    folded, _ = fold(client, found)
    check(client, upstream, feature, folded)


@pytest.mark.parametrize("status", response_forms.STATUSES)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_an_error_has_the_shape_and_the_word_of_the_clients_format(client, upstream, status):
    given = 529 if (upstream, status) == ("anthropic", 503) else status
    headers = {"x-amzn-errortype": response_forms.AWS_ERROR[status]} if upstream in ("converse", "invoke") else {}
    body = json.dumps(response_forms.error(upstream, status)).encode()
    found = translate_response(given, body, reply(client, upstream, "text"), headers)
    assert found.status == (529 if (client, status) == ("anthropic", 503) else status)
    sentence = response_forms.seen_error(client, found.status, found.headers, json.loads(found.body))
    assert "It went wrong there." in sentence
