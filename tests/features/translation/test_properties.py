"""What holds for every stream and every request: no cut matters, and nothing that a provider sends raises."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.translation.cases import MODELS, PLAIN, STATES, load
from tests.features.translation.streams import upstream_bytes
from tests.features.translation.test_responses import ANSWERS, STREAMS, reply_of
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.own_format import without_signed_state
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator, translate_response

STREAM_NAMES, ANSWER_NAMES = list(STREAMS), list(ANSWERS)


def translated(case, pieces):
    translator = StreamTranslator(reply_of(case, stream=True))
    return b"".join(map(translator.feed, pieces)) + translator.end()


def stream_bytes(case):
    return upstream_bytes(case["to"], case["in"], case.get("options"))


@given(st.sampled_from(STREAM_NAMES), st.lists(st.integers(1, 4000), max_size=12))
def test_any_cut_of_a_stream_gives_the_same_bytes(name, cuts):
    case = STREAMS[name]
    data = stream_bytes(case)
    places = sorted({0, *(cut % len(data) for cut in cuts), len(data)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert translated(case, pieces) == translated(case, [data])


MUTATIONS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255), st.sampled_from("rdi")), max_size=8)


def mutated(data, mutations):
    found = bytearray(data)
    for place, byte, kind in mutations:
        at = place % max(len(found), 1)
        if kind == "r" and found:
            found[at] = byte
        elif kind == "d":
            del found[at : at + byte]
        else:
            found.insert(at, byte)
    return bytes(found)


@settings(max_examples=300)
@given(st.sampled_from(STREAM_NAMES), MUTATIONS)
def test_no_bytes_of_a_stream_raise(name, mutations):
    case = STREAMS[name]
    translated(case, [mutated(stream_bytes(case), mutations)])


@settings(max_examples=300)
@given(st.sampled_from(ANSWER_NAMES), MUTATIONS)
def test_no_bytes_of_a_response_raise(name, mutations):
    case = ANSWERS[name]
    found = translate_response(200, mutated(json.dumps(case["in"]).encode(), mutations), reply_of(case))
    json.loads(found.body)


WRONG = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in members:
        yield from places(one, (*path, name))


def replaced(value, path, wrong):
    if not path:
        return wrong
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], wrong)
    return copy


@settings(max_examples=300)
@given(st.sampled_from(ANSWER_NAMES), st.data(), WRONG)
def test_no_type_of_a_member_of_a_response_raises(name, data, wrong):
    case = ANSWERS[name]
    path = data.draw(st.sampled_from(list(places(case["in"]))))
    found = translate_response(200, json.dumps(replaced(case["in"], path, wrong)).encode(), reply_of(case))
    json.loads(found.body)


@settings(max_examples=300)
@given(st.sampled_from(STREAM_NAMES), st.data(), WRONG)
def test_no_type_of_a_member_of_a_stream_raises(name, data, wrong):
    case = STREAMS[name]
    path = data.draw(st.sampled_from([path for path in places(case["in"]) if len(path) > 1]))
    event = replaced(case["in"], path, wrong)
    translated(case, [upstream_bytes(case["to"], event, case.get("options"))])


REQUESTS = load("request")


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", FORMATS)
def test_the_same_request_gives_the_same_bytes(client, upstream):
    body = json.dumps(PLAIN[client]).encode()
    given = (FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES)
    assert translate_request(*given).body == translate_request(*given).body


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_keeps_its_format_keeps_its_bytes(name, form):
    body = json.dumps(REQUESTS[name]["in"]).encode()
    assert without_signed_state(FORMATS[form], body) is body


@pytest.mark.parametrize("member", ["model", "user"])
def test_only_ids_of_calls_are_cut_in_a_request_that_keeps_its_format(member):
    name = "call_shell_wk1_AAAA"
    tool = {"type": "function", "function": {"name": name}}
    body = json.dumps({member: name, "messages": [{"role": "user", "content": name}], "tools": [tool]}).encode()
    assert json.loads(without_signed_state(FORMATS["openai.chat"], body)) == json.loads(body)
    items = {member: name, "input": [{"type": "function_call", "call_id": name, "name": name, "arguments": name}]}
    found = json.loads(without_signed_state(FORMATS["openai.responses"], json.dumps(items).encode()))
    assert found == {**items, "input": [{**items["input"][0], "call_id": "call_shell"}]}


@pytest.mark.parametrize("roles", [("user", "assistant"), ("user", "user")], ids=["turns", "one turn"])
@pytest.mark.parametrize("client", ["openai.chat", "openai.responses"])
def test_the_time_of_a_translation_grows_with_the_request_and_not_faster(client, roles):
    def seconds(messages):
        said = [{"role": role, "content": "word " * 20} for _ in range(messages) for role in roles]
        body = json.dumps({"input" if client == "openai.responses" else "messages": [*said, said[0]]}).encode()
        times = []
        for _ in range(3):
            started = time.process_time()
            translate_request(FORMATS[client], FORMATS["anthropic"], MODELS["anthropic"], body, STATES)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(6000) < 30 * seconds(500)
