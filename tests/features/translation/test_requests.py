"""Requests in one format become requests in another. The cases are in `cases/`."""

import json
import re

import pytest

from tests.features.translation.cases import STATES, client_body, formats, load, model_of
from tests.features.translation.matching import match
from wirekey.core.errors import Refusal
from wirekey.features.translation.requests import translate_request

REQUESTS = load("request")
REFUSALS = {name: case for name, case in load("error").items() if "refused" in case["expect"]}


def translated(case, request=None):
    client, upstream = formats(case)
    stream = bool(case.get("stream"))
    body = client_body(case["from"], case["in"] if request is None else request, stream=stream)
    return translate_request(client, upstream, model_of(case), body, STATES, stream=stream)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_in_the_format_of_the_upstream(name):
    case = REQUESTS[name]
    found, expected = translated(case), case["expect"]["upstream"]
    text = found.body.decode()
    match(expected.get("body", {}), json.loads(text))
    for piece in expected.get("raw_contains", []):
        assert piece in text
    for piece in expected.get("raw_lacks", []):
        assert piece not in text
    if "path" in expected:
        assert re.search(expected["path"], found.path)
    losses = case["expect"].get("losses")
    if losses:
        match(losses, found.context.losses.headers())


@pytest.mark.parametrize("name", REFUSALS)
def test_a_request_that_would_lose_its_meaning_is_refused(name):
    case = REFUSALS[name]
    with pytest.raises(Refusal) as refused:
        translated(case)
    assert refused.value.status == case["expect"]["refused"]
    for piece in case["expect"].get("client", {}).get("raw_contains", []):
        assert piece in refused.value.message
