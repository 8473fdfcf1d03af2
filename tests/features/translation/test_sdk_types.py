"""Every request and response that the golden cases translate has types in the SDK of its format."""

import json

import pytest

from tests.features.translation.cases import dumped, model_of
from tests.features.translation.sdk_types import WrongTypeError, check_event, check_request, check_response
from tests.features.translation.streams import client_events
from tests.features.translation.test_requests import REQUESTS, translated
from tests.features.translation.test_responses import ANSWERS, STREAMS, reply_of, streamed
from wirekey.features.translation.responses import translate_response


@pytest.mark.parametrize("name", REQUESTS)
def test_a_translated_request_has_the_types_of_the_upstreams_sdk(name):
    case = REQUESTS[name]
    assert model_of(case)
    check_request(case["to"], json.loads(translated(case).body), streamed=bool(case.get("stream")))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_translated_response_has_the_types_of_the_clients_sdk(name):
    case = ANSWERS[name]
    found = translate_response(200, dumped(case["in"]).encode(), reply_of(case))
    if found.status == 200:
        check_response(case["from"], json.loads(found.body))


@pytest.mark.parametrize("name", STREAMS)
def test_a_translated_stream_has_the_types_of_the_clients_sdk(name):
    case = STREAMS[name]
    for event in client_events(case["from"], streamed(case, None)):
        check_event(case["from"], event)


def test_the_types_refuse_what_no_sdk_sends():
    plain = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    check_request("openai.chat", plain)
    for wrong in ({"nonsense": 1}, {"messages": [{"role": "model", "content": "Hi"}]}, {"n": "1"}):
        with pytest.raises(WrongTypeError):
            check_request("openai.chat", {**plain, **wrong})
    with pytest.raises(WrongTypeError):
        check_request("anthropic", plain)
    with pytest.raises(WrongTypeError):
        check_request("gemini", {"contents": [{"role": "user", "parts": [{"txt": "Hi"}]}]})
    with pytest.raises(WrongTypeError):
        check_request("converse", {"messages": [{"role": "tool", "content": [{"text": "Hi"}]}]})
    with pytest.raises(WrongTypeError):
        check_response("anthropic", {"id": "x"})
