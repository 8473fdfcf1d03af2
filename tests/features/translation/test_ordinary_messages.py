"""Ordinary messages are decoded into types, and all others are read member by member. Both ways read the same.

The second way alone is the reference: it is what reads a message when `ordinary` decodes none.
"""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.translation import session
from tests.features.translation.cases import MODELS, PLAIN, STATES, client_body, load
from tests.features.translation.test_growing_conversations import (
    EXCHANGES,
    MAKERS,
    turns_of,
    with_signed_ids,
    written,
)
from tests.features.translation.test_properties import places, replaced
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.losses import Losses
from wirekey.features.translation.neutral import ModelMaker
from wirekey.features.translation.requests import read_request, translate_request

READERS = {
    "openai_chat": "ordinary_turn",
    "openai_responses": "ordinary_item",
    "gemini": "ordinary_content",
    "anthropic": "ordinary_turn",
    "converse": "ordinary_turn",
}
REQUESTS = load("request")
WRONG = [None, True, 7, -1.5, "", "x", [], {}, ["x"], {"x": "x"}, {"text": "x"}, [{"type": "text", "text": "x"}]]
"""Values of a wrong type, which take the place of each member in turn."""
MORE = {"x": None, "name": "n", "type": "text", "text": "t", "role": "user", "content": "c", "id": "i", "output": "o"}
"""Members that are added to each object in turn."""


def read(form, body):
    """Return what is read of a request and lost of it, or the refusal."""
    losses = Losses()
    try:
        conversation = read_request(FORMATS[form], body, losses, STATES, stream=False)
    except Refusal as refusal:
        return refusal.message, refusal.param
    return conversation, losses


def read_by_member(form, body):
    with pytest.MonkeyPatch.context() as patch:
        for name, function in READERS.items():
            module = import_module(f"wirekey.features.translation.{name}.read_request")
            patch.setattr(module, function, lambda *_: None)
        return read(form, body)


def check(form, body):
    assert read(form, body) == read_by_member(form, body)


@pytest.mark.parametrize("name", REQUESTS)
def test_each_case_is_read_the_same_and_so_is_each_member_of_another_type(name):
    case = REQUESTS[name]
    form, request = case["from"], case["in"]
    check(form, client_body(form, request))
    for path in places(request):
        if path and path[0] in ("messages", "contents", "input"):
            for wrong in WRONG:
                check(form, client_body(form, replaced(request, path, wrong)))
        value = request
        for step in path:
            value = value[step]
        if isinstance(value, dict) and "$raw" not in value:
            for member, added in MORE.items():
                check(form, client_body(form, replaced(request, path, {member: added, **value})))


@pytest.mark.parametrize("maker", [None, *ModelMaker], ids=str)
@pytest.mark.parametrize("client", FORMATS)
@settings(max_examples=8)
@given(exchanges=EXCHANGES, indented=st.booleans())
def test_a_conversation_is_read_the_same(client, maker, exchanges, indented):
    body = written(client, turns_of(exchanges, client, maker))
    if client == "openai.chat" and maker:
        body = with_signed_ids(body, exchanges, maker)
    check(client, body)
    if indented:
        check(client, json.dumps(json.loads(body), indent=1).encode())
        check(client, json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False).encode())


@pytest.mark.parametrize("client", FORMATS)
def test_most_messages_of_a_session_are_ordinary(client, monkeypatch):
    body = session(8 * 1024)
    if client != "openai.chat":
        body = translate_request(FORMATS["openai.chat"], FORMATS[client], MODELS[client], body, STATES).body
    name = "anthropic" if client == "invoke" else client.replace(".", "_")
    module = import_module(f"wirekey.features.translation.{name}.read_request")
    function = getattr(module, READERS[name])
    found = []
    monkeypatch.setattr(module, READERS[name], lambda *given: found.append(function(*given)) or found[-1])
    read(client, body)
    assert len(found) > 10
    assert sum(one is None for one in found) <= 1  # the system message


def test_the_plainest_requests_are_read_the_same():
    for form, request in PLAIN.items():
        check(form, client_body(form, request))
        assert MAKERS.keys() | {"openai.chat"} == set(FORMATS)
