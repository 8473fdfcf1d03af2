"""Requests are read strictly: one JSON object, no repeated key where a value is read, and no unexpected types."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.providers.request_json import (
    check_json_type,
    check_model,
    one_of,
    read_body,
    read_messages,
    read_model,
    read_object,
    refuse_lookalikes,
)

DEEP = 100_000


def refused(data):
    with pytest.raises(Refusal) as raised:
        read_body(data)
    assert raised.value.status == 400
    return raised.value.message


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"null", "object"),
        (b"[]", "object"),
        (b'"x"', "object"),
        (b"x", "not valid JSON"),
        (b'{"model":"a"', "not valid JSON"),
        (b'{"model":"a"} {"model":"b"}', "not valid JSON"),
        (b'{"model":"a",}', "not valid JSON"),
        (b"{'model':'a'}", "not valid JSON"),
        (b'{"model":"a"/* c */}', "not valid JSON"),
        (b'{"x":NaN}', "not valid JSON"),
        (b'{"x":[-Infinity]}', "not valid JSON"),
        (b'{"x":01}', "not valid JSON"),
        (b'{"x":"a\nb"}', "not valid JSON"),
        (b'{"x":"\\ud800"}', "not valid JSON"),
        (b'{"x":%b%b}' % (b"[" * DEEP, b"]" * DEEP), "nested too deeply"),
        (b'{"x":%b1%b}' % (b'{"a":' * DEEP, b"}" * DEEP), "nested too deeply"),
        (b'\xef\xbb\xbf{"model":"a"}', "byte order mark"),
        ('{"model":"a"}'.encode("utf-16"), "UTF-8"),
        ('{"model":"a"}'.encode("utf-16-le"), "not valid JSON"),
        (b'{"x":"\xff"}', "UTF-8"),
        (b'{"x":"\xc0\xa2"}', "UTF-8"),
        (b'{"x":"\xed\xa0\x80"}', "UTF-8"),
        (b'{"mod\xffel":"a"}', "UTF-8"),
        (b'{"x":"' + "é".encode() * 40_000 + b'\xc3"}', "UTF-8"),
        (b'{"x":"' + "é".encode() * 40_000 + b"\xc3", "UTF-8"),
        (b'{"model":"a"}\x00', "not valid JSON"),
        (b"{%b}" % b",".join(b'"%d":0' % i for i in range(10_001)), "members"),
        (b'{"x":[%b0]}' % (b"0," * 4_200_000), "too many parts"),
    ],
)
def test_a_body_that_is_not_one_strict_json_object_is_refused(data, word):
    assert word in refused(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","x":1,"model":"b"}',
        b'{"x":1,"x":2,"model":"a"}',
        b'{"mod\\u0065l":"a","model":"b"}',
        b'{"model":"a","\\u006dodel":"b"}',
        b'{ "model" : "a" , "model" : "b" }',
        b'{"model":"a","model":1}',
        b'{"a":1,"a":12}',
        b'{"a":12,"a":1}',
        b'{"a":"x","a":"x\\"","b":1}',
        b'{"a":{"b":1},"a":{"b":1},"b":1}',
        b'{"a":[1,"\\"a\\":2"],"a":[1]}',
        b'{"":0,"":0}',
        b'{"":0,"":0,"":0}',
        b'{"":{"":0},"":{"":0}}',
        b'{"a/b":1,"a\\/b":1}',
        '{"é":1,"\\u00e9":1}'.encode(),
        '{"é":1,"é":2}'.encode(),
        '{"😀":1,"\\ud83d\\ude00":2}'.encode(),
        b'{"model":"a"%b,"model":"b"}' % (b" " * 50),
    ],
)
def test_a_repeated_key_is_refused_in_any_spelling(data):
    assert "twice" in refused(data)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b" { } \n",
        b'{"model":"a"}',
        b'{"model":"a","messages":[{"model":"b"},{"model":"c"}]}',
        b'{"model":"\\"model\\":1"}',
        b'{\r\n\t"model" : "a" ,\n "x" : { "model" : 1 , "model2" : [ ] } } ',
        b'{"a":1,"b":1,"A":1,"aa":1}',
        b'{"a":1e999,"b":-0.0E+1}',
        b'{"":0}',
        '{"é":"é","\\u00e8":"\\u00e8"}'.encode(),
    ],
)
def test_a_strict_object_is_read_with_the_spans_of_its_values(data):
    body = read_body(data)
    assert {key: json.loads(bytes(raw)) for key, raw in body.values.items()} == json.loads(data)
    assert {key: data[a:b] for key, (a, b) in body.spans.items()} == {k: bytes(r) for k, r in body.values.items()}


KEYS = st.sampled_from(["a", "b", "", "model", "mod\\u0065l", "\\u0061", 'a\\"', "é", "\\u00e9"])
VALUES = st.sampled_from(["1", "12", '"a"', '"\\"a\\":1"', '{"a":1}', "[1, 2]", '{ "a" : 1 , "a" : 2 }', "null", '"é"'])
SPACE = st.sampled_from(["", "", " ", "\n\t", "          "])


@given(st.lists(st.tuples(SPACE, KEYS, SPACE, SPACE, VALUES, SPACE), max_size=6), SPACE)
def test_exactly_the_objects_with_a_repeated_key_are_refused(members, space):
    data = space + "{" + ",".join(f'{a}"{k}"{b}:{c}{v}{d}' for a, k, b, c, v, d in members) + "}" + space
    pairs = json.loads(data, object_pairs_hook=lambda pairs: pairs)
    if len(dict(pairs)) < len(pairs):
        assert "twice" in refused(data.encode())
    else:
        assert list(read_body(data.encode()).values) == [key for key, _ in pairs]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ue0ml 1', max_size=40).map(str.encode))
def test_rubbish_is_refused_and_raises_nothing_else(data):
    with suppress(Refusal):
        read_body(data)


def test_a_member_of_the_wrong_type_is_refused_by_name():
    body = read_body(b'{"model":1,"stream":"true","max_tokens":1.5,"tools":{},"big":1e300,"flag":1,"s":[]}')
    for read, key in [
        (body.text, "model"),
        (body.flag, "stream"),
        (body.flag, "flag"),
        (body.integer, "max_tokens"),
        (body.integer, "big"),
        (body.integer, "stream"),
        (body.array, "tools"),
        (body.child, "s"),
    ]:
        with pytest.raises(Refusal, match=key):
            read(key)


def test_a_number_that_json_parsers_round_is_refused():
    assert read_body(b'{"n":9007199254740992}').integer("n") == 2**53
    with pytest.raises(Refusal, match="too large"):
        read_body(b'{"n":9007199254740993}').integer("n")


def test_absent_and_null_members_are_none():
    body = read_body(b'{"model":null}')
    for key in ("model", "absent"):
        assert (body.text(key), body.flag(key), body.integer(key), body.array(key), body.child(key)) == (
            None,
            False,
            None,
            None,
            None,
        )


def test_inner_objects_are_as_strict_and_the_message_names_them():
    body = read_body(b'{"tools":[{"a":1},{"a":1,"a":2}],"x":{"y":1,"y":1}}')
    with pytest.raises(Refusal, match=r"tools\[1\]"):
        list(body.children("tools"))
    with pytest.raises(Refusal, match="twice in x"):
        body.child("x")


@pytest.mark.parametrize(
    ("model", "fine"),
    [
        ("gpt-4o", True),
        ("ft:gpt-4o:org::id", True),
        ("modèle", True),
        ("m" * 256, True),
        ("m" * 257, False),
        ("", False),
        (" gpt-4o", False),
        ("gpt-4o\n", False),
        ("gpt\x00", False),
        ("gpt\u200b4", False),
        ("gpt\u202e", False),
    ],
)
def test_a_model_is_a_short_printable_name(model, fine):
    if fine:
        check_model(model)
        assert read_model(read_object(json.dumps({"model": model}).encode(), "")) == model
    else:
        with pytest.raises(Refusal, match="model"):
            check_model(model)


@pytest.mark.parametrize("key", ["Model", "MODEL", "\u017ftream", "max_to\u212aens"])
def test_a_key_that_some_servers_read_as_another_is_refused(key):
    body = read_body(json.dumps({"x": 1, key: 2}).encode())
    with pytest.raises(Refusal, match="spelled"):
        refuse_lookalikes(body, {"model", "stream", "max_tokens"})


def test_only_one_of_two_spellings_may_be_used():
    assert one_of(read_body(b'{"a_b":1}'), "aB", "a_b") == "a_b"
    assert one_of(read_body(b"{}"), "aB", "a_b") == "aB"
    with pytest.raises(Refusal, match="twice"):
        one_of(read_body(b'{"aB":1,"a_b":1}'), "aB", "a_b")


@pytest.mark.parametrize(
    ("content_type", "fine"),
    [
        ("application/json", True),
        ("", True),
        ("Application/JSON; charset=UTF-8", True),
        ('application/json;charset="utf-8"', True),
        ("application/vnd.api+json", True),
        ("application/json; charset=utf-16", False),
        ("application/json; charset=utf-7", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=b", False),
        ("text/plain", False),
        ("application/json, text/plain", False),
    ],
)
def test_a_body_that_is_declared_as_something_else_is_refused(content_type, fine):
    if fine:
        check_json_type(content_type)
    else:
        with pytest.raises(Refusal):
            check_json_type(content_type)


MESSAGES = [
    ("[]", 0, set()),
    ('[{"role":"user","content":"x"}]', 1, {"user"}),
    ('[{"content":[{"role":"system"}],"role":"user"},{"role":"assistant"}]', 2, {"user", "assistant"}),
    ('[{"\\u0072ole":"\\u0073ystem"},{}]', 2, {"system", ""}),
    ('[{"role":"\\u0073ystem"}]', 1, {"system"}),
    ('["x",{"role":"user"}]', 2, {"", "user"}),
    ('[ {"role" : null} , {"role" : "user"} ]', 2, {"", "user"}),
    ('[{"type":"reasoning"}]', 1, {""}),
]


@pytest.mark.parametrize(("messages", "count", "roles"), MESSAGES)
def test_messages_are_counted_and_their_roles_are_read(messages, count, roles):
    found = read_messages(read_body(b'{"messages":%b}' % messages.encode()), "messages")
    assert found
    assert (found.count, found.roles - {""}) == (count, roles - {""})


@pytest.mark.parametrize("item", ["{}", '"x"', '{ "role" : "user" }'])
def test_more_messages_than_any_provider_accepts_are_refused(item):
    body = read_body(b'{"messages":[%b]}' % ",".join([item] * 100_001).encode())
    with pytest.raises(Refusal, match="more than 100000 items"):
        read_messages(body, "messages")


@pytest.mark.parametrize("value", ["null", None])
def test_absent_messages_are_read_as_none(value):
    assert read_messages(read_body(b'{"messages":null}' if value else b"{}"), "messages") is None


@pytest.mark.parametrize(
    "messages",
    [
        '[{"role":"system","role":"user"}]',
        '[{"role":"system","content":"x","r\\u006fle":"user"}]',
        '[{"role":"user","content":"x"},  {"role":"user", "role":"system"}]',
        '[{"role":1}]',
        '[{"role":["system"]}, "x"]',
        '{"role":"user"}',
        '"x"',
        "1",
    ],
)
def test_ambiguous_messages_are_refused(messages):
    with pytest.raises(Refusal, match="messages"):
        read_messages(read_body(b'{"messages":%b}' % messages.encode()), "messages")


@given(st.lists(st.lists(st.tuples(SPACE, KEYS, VALUES, SPACE), max_size=4), max_size=4))
def test_messages_with_a_repeated_key_are_refused_in_any_spacing(messages):
    data = ",".join("{" + ",".join(f'{a}"{k}":{v}{b}' for a, k, v, b in members) + "}" for members in messages)
    pairs = json.loads(f"[{data}]", object_pairs_hook=lambda pairs: pairs)
    body = read_body(f'{{"messages":[{data}]}}'.encode())
    if any(len(dict(members)) < len(members) for members in pairs):
        with pytest.raises(Refusal, match="twice"):
            read_messages(body, "messages")
    else:
        assert read_messages(body, "messages").count == len(messages)
