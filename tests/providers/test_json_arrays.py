"""Long arrays of small items are read a piece at a time, with the same result and in little memory."""

import contextlib
import json
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.core.metering.long_strings import RUN, outline
from wirekey.providers import request_json
from wirekey.providers.json_arrays import SHORT, pieces
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_json import ITEMS_LIMIT, MEMBERS_LIMIT, read_body, read_messages, read_object

DECOYS = [
    {"content": '],[},{\\",' * 40},
    [[{}, {}, [1, 2]], "a,b"],
    {"a": {"b": [{}] * 50}},
    "é,\\",
    -1.5e3,
    None,
    "x" * (5 * SHORT),
]
"""Items with commas inside, which are no place for a cut."""


@pytest.mark.parametrize("spaces", ["", " ", "\n\t "])
@pytest.mark.parametrize("seed", range(4))
def test_pieces_have_the_items_of_the_array_in_order(seed, spaces):
    chosen = random.Random(seed)
    items = [chosen.choice([*DECOYS[:-1], {}, {"a": 1}, 7]) for _ in range(3000)]
    items.insert(chosen.randrange(len(items)), DECOYS[-1])
    array = json.dumps(items, separators=("," + spaces, ":" + spaces)).encode()
    found = list(pieces(array))
    assert all(len(json.loads(piece)) for piece in found)
    assert [item for piece in found for item in json.loads(piece)] == items


@pytest.mark.parametrize("item", [b"{}", b"[[],[]]", b"0", b'","'])
def test_pieces_of_small_items_are_short(item):
    array = b"[" + b",".join([item] * 100_000) + b"]"
    found = list(pieces(array))
    assert max(map(len, found)) < 5 * SHORT
    assert sum(len(json.loads(piece)) for piece in found) == 100_000


@pytest.mark.parametrize("array", [b"[]", b"[ ]", b"[1]", b'["' + b"," * 3 * SHORT + b'"]', b"[" * 300 + b"]" * 300])
def test_an_array_that_cannot_be_cut_is_one_piece(array):
    assert list(pieces(array)) == [array]


def body(member, item, size=750_000):
    count = size // (len(item) + 1)
    return b'{"model":"m","max_tokens":1,"' + member + b'":[' + b",".join([item] * count) + b"]}"


@pytest.mark.parametrize("item", [b'{"role":"user","content":"hi"}', b'{"a":0,"role":"user"}', b'"text of a message"'])
def test_messages_in_pieces_are_counted_with_their_roles(item):
    data = body(b"messages", item).replace(b"]}", b',{"role":"system"}]}')
    messages = read_messages(read_body(data), "messages")
    assert messages.count == len(json.loads(data)["messages"])
    assert "system" in messages.roles


@pytest.mark.parametrize("item", [b'{"role":"user","ro\\u006ce":"system"}', b'{"Role":"system"}', b'{"role":1}'])
def test_what_is_wrong_in_a_later_piece_is_found(item):
    data = body(b"messages", b'{"role":"user"}').replace(b"]}", b"," + item + b"]}")
    with pytest.raises(Refusal, match="messages"):
        read_messages(read_body(data), "messages")


def test_too_many_messages_are_refused():
    with pytest.raises(Refusal, match=f"more than {ITEMS_LIMIT} items"):
        read_messages(read_body(body(b"messages", b"{}")), "messages")


BODIES = {
    "openai": ("/v1/chat/completions", [b"messages", b"tools", b"functions"]),
    "anthropic": ("/v1/messages", [b"messages", b"tools", b"fallbacks"]),
    "gemini": ("/v1beta/models/m:generateContent", [b"contents", b"tools"]),
    "bedrock": ("/model/amazon.nova-lite-v1:0/converse", [b"messages"]),
}
ITEMS = [b"{}", b'{"a":0}', b"0", b'{"role":"user"}', b'{"type":"x","name":"y"}', b"[[],[]]", b'"a"']
LONG_ITEMS = [b"{%b}" % b",".join(b'"%x":0' % key for key in range(count)) for count in (999, 9000)]
"""Objects of many members each, the last one with too many."""


@pytest.mark.parametrize(
    ("item", "size"), [*((item, 600_000) for item in ITEMS[:3]), *((item, 300_000) for item in ITEMS + LONG_ITEMS)]
)
@pytest.mark.parametrize(
    ("provider", "member"), [(provider, member) for provider, (_, members) in BODIES.items() for member in members]
)
def test_R6_reading_tiny_values_takes_at_most_four_times_the_memory_of_the_body(provider, member, item, size):
    assert memory_of_reading(provider, body(member, item, size)) < 4


@pytest.mark.parametrize("keys", [100, MEMBERS_LIMIT - 2, 25_000, 100_000])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("provider", BODIES)
def test_R6_reading_an_object_of_many_keys_takes_at_most_four_times_the_memory_of_the_body(provider, nested, keys):
    padding = b"1" * (300_000 // keys)
    data = b"{%b}" % b",".join(b'"%x":%b' % (key, padding) for key in range(keys))
    if nested:
        data = b'{"model":"m","max_tokens":1,"messages":[],"tool_choice":%b,"toolConfig":%b}' % (data, data)
    assert memory_of_reading(provider, data) < 4


def memory_of_reading(provider, data):
    """The most memory that reading takes at a time, in multiples of the body. It may be refused."""
    operation = PROVIDERS[provider].operations.match_operation("POST", BODIES[provider][0], {})

    def read():
        with contextlib.suppress(Refusal):  # too many items, or of the wrong type
            PROVIDERS[provider].operations.read_request(operation, {}, "application/json", data)

    read()
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1] / len(data)
    finally:
        tracemalloc.stop()


TEXT = st.sampled_from(
    ["", "a", '"', "\\", '\\"', "{", ":", "x" * RUN, "x" * (3 * RUN), "x" * (RUN - 1) + "\\" + "y" * RUN]
)
JSON = st.recursive(
    TEXT | st.just(0),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def members(data):
    """Count the members of all objects."""
    if isinstance(data, dict):
        return len(data) + sum(map(members, data.values()))
    return sum(map(members, data)) if isinstance(data, list) else 0


def objects(data):
    """Count all objects."""
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return isinstance(data, dict) + sum(map(objects, inside))


@given(
    JSON, st.sampled_from([(",", ":"), (" , ", " : "), ("," + " " * 2 * RUN, " " * 2 * RUN + ":")]), st.integers(0, 9)
)
def test_no_member_is_missed_when_long_strings_are_left_out(data, separators, enough):
    body = json.dumps(data, separators=separators).encode()
    assert request_json._most_members(outline(body), enough) >= members(data)


@given(
    st.lists(JSON | st.just({}), max_size=30),
    st.sampled_from([{"separators": (",", ":")}, {"indent": 1}, {"separators": (" , ", " : ")}]),
    st.integers(1, 30),
)
def test_no_array_that_would_take_too_much_memory_is_split_at_once(data, style, room):
    array = json.dumps(data, **style).replace("{}", "{ \t}" if room % 2 else "{}").encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(request_json, "SHORT", 0)
        patched.setattr(request_json, "MOST_TIMES", room)
        dense = request_json._is_dense(array, array)
    taken = request_json.ROOM_OF_MEMBER * members(data) + request_json.ROOM_OF_ITEM * objects(data)
    assert dense or taken <= room * len(array)


@pytest.mark.parametrize(
    "value",
    [b"0", b'"' + b"x" * 2 * RUN + b'"', b'"%b"' % (b'\\"' * 40), b"[" + b"{}," * 99 + b"0]"],
    ids=["numbers", "long strings", "escaped quotes", "arrays of objects"],
)
@pytest.mark.parametrize("space", [b"", b" " * 2 * RUN], ids=["close", "far apart"])
def test_an_object_may_have_so_many_members_and_no_more(value, space):
    def written(count):
        return b"{%b}" % b",".join(space + b'"%x"%b:%b' % (key, space, value) for key in range(count))

    assert len(read_object(written(MEMBERS_LIMIT), "").values) == MEMBERS_LIMIT
    for count in (MEMBERS_LIMIT + 1, 3 * MEMBERS_LIMIT):
        with pytest.raises(Refusal, match=f"more than {MEMBERS_LIMIT} members"):
            read_object(written(count), "")


def test_messages_full_of_code_are_split_at_once():
    code = 'def f(x):\n    return {"a": {"b": [x, {"c": x}]}}\n' * 60
    data = json.dumps({"messages": [{"role": "user", "content": code}] * 20}).encode()
    assert not request_json._is_dense(data, read_body(data).values["messages"])
    assert read_messages(read_body(data), "messages").count == 20


def test_an_array_of_few_items_for_its_length_is_not_cut(monkeypatch):
    tool = {"type": "function", "function": {"name": "read", "description": "Reads a file, or a part of it." * 40}}
    parsed = read_body(json.dumps({"tools": [tool] * 20}).encode())
    monkeypatch.setattr(request_json, "pieces", pytest.fail)
    assert parsed.length("tools") == len(list(parsed.children("tools"))) == 20


@pytest.mark.parametrize("count", [1_001, 60_000])
def test_a_body_is_refused_for_its_members_whatever_was_estimated(count):
    """The estimate is low if a body has few members for its length, and is not used if it has many."""
    members = b",".join(b'"%x":0' % key for key in range(count))
    with pytest.raises(Refusal, match=f"more than {MEMBERS_LIMIT} members"):
        read_body(b'{%b,"long":"%b"}' % (members, b"x" * 200_000))


def test_a_body_full_of_members_is_never_split_for_its_estimate():
    dense = b'{"messages":[%b{}]}' % (b'{"a":1},' * 20_000)
    array = read_body(dense).values["messages"]
    assert all(request_json._is_dense(dense, array) for _ in range(200))
    assert read_messages(read_body(dense), "messages").count == 20_001
