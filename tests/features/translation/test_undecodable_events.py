"""R44: an event that is not quite JSON is read leniently; one that is no JSON ends the stream with an error.

Neither vanishes. The rows are the bytes of one piece of text in the middle of a stream, for every pair of formats.
"""

import base64
import json

import msgspec
import pytest

from tests.features.translation import response_forms
from tests.features.translation.cases import dumped
from tests.features.translation.streams import client_events, cut, fold, upstream_bytes
from tests.features.translation.test_pairs import PAIRS, reply
from wirekey.core.metering.eventstream import write_frame
from wirekey.core.metering.lenient_json import MOST_STEPS, decode_leniently, mended_json
from wirekey.core.metering.sse import EVENT_LIMIT
from wirekey.features.translation.responses import StreamTranslator, translate_response

FIRST, MIDDLE, LAST = response_forms.pieces(response_forms.FEATURES["text"].text)
FLAWS = {
    "the first half of a surrogate pair": (rb"o \ud83dth", "o \ufffdth"),
    "the second half of a surrogate pair": (rb"o \ude00th", "o \ufffdth"),
    "two halves in the wrong order": (rb"o \ude00\ud83dth", "o \ufffd\ufffdth"),
    "half a surrogate pair at the end of the text": (rb"o th\ud83d", "o th\ufffd"),
    "half a surrogate pair before another escape": (rb"o \ud83d\u0041th", "o \ufffdAth"),
    "a byte that is not UTF-8": (b"o \xffth", "o \ufffdth"),
    "half a surrogate in UTF-8": (b"o \xed\xa0\xbdth", "o \ufffd\ufffd\ufffdth"),
    "a bare control character": (b"o \x01th", "o \x01th"),
    "an escape that JSON does not know": (rb"o \qth", "o \\qth"),
}  # fmt: skip
BROKEN = {
    "text": b"upstream connect error",
    "a string that does not end": b'{"type":"content_block_delta","delta":{"text":"Hel',
    "a number": b"17",
    "a list": b"[1, 2]",
    "a string": b'"Hello"',
    "nested too deep": b"[" * 3000 + b"]" * 3000,
}  # fmt: skip


def event_bytes(form, event):
    """Return one event with these bytes as its JSON."""
    if form == "invoke":
        event = json.dumps({"bytes": base64.b64encode(event).decode()}).encode()
    if form in {"converse", "invoke"}:
        name = "contentBlockDelta" if form == "converse" else "chunk"
        headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
        return write_frame(headers, event)
    return b"data: " + event + b"\n\n"


def json_of(form, event):
    """Return the JSON of an event as it stands within its frame."""
    if form == "invoke":
        return base64.b64decode(event["chunk"]["bytes"])
    return dumped(next(iter(event.values())) if form == "converse" else event).encode()


def stream_with(form, change):
    """Return a stream of text whose event with the middle piece has other JSON."""
    events = response_forms.events(form, "text")
    place = next(
        place
        for place, event in enumerate(events)
        if isinstance(event, dict) and f'"{MIDDLE}"'.encode() in json_of(form, event)
    )
    before, after = events[:place], events[place + 1 :]
    changed = event_bytes(form, change(json_of(form, events[place])))
    return upstream_bytes(form, before) + changed + upstream_bytes(form, after)


def translated(client, upstream, data, size=None):
    translator = StreamTranslator(reply(client, upstream, "text", stream=True))
    return b"".join(map(translator.feed, cut(data, size))) + translator.end(), translator


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_event_with_a_small_flaw_is_read(client, upstream, flaw):
    given, text = FLAWS[flaw]
    data = stream_with(upstream, lambda event: event.replace(MIDDLE.encode(), given))
    found, translator = translated(client, upstream, data)
    assert found == translated(client, upstream, data, 1)[0]
    assert translator.failure is None
    response, _ = fold(client, found)
    finish, seen, *_ = response_forms.seen(client, response)
    assert seen == FIRST + text + LAST
    assert finish == response_forms.FINISH[client]["end"]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_event_that_is_no_json_ends_the_stream_with_an_error_of_the_clients_format(client, upstream, broken):
    data = stream_with(upstream, lambda _: BROKEN[broken])
    found, translator = translated(client, upstream, data)
    assert found == translated(client, upstream, data, 1)[0]
    assert translator.failure.code == "unreadable_answer"
    response, _ = fold(client, found)
    assert response["error"]
    assert response.get("done") is not True
    shown = json.dumps(client_events(client, found))
    assert FIRST in shown
    assert LAST not in shown


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_a_whole_response_with_a_small_flaw_is_read(client, upstream, flaw):
    given, text = FLAWS[flaw]
    body = json.dumps(response_forms.whole(upstream, "text")).encode().replace(MIDDLE.encode(), given)
    found = translate_response(200, body, reply(client, upstream, "text"))
    assert found.status == 200
    assert response_forms.seen(client, json.loads(found.body))[1] == FIRST + text + LAST


@pytest.mark.parametrize("nothing", [b"null", b"  null "])
def test_null_is_no_event(nothing):
    found, translator = translated("anthropic", "openai.chat", stream_with("openai.chat", lambda _: nothing))
    assert translator.failure is None
    assert response_forms.seen("anthropic", fold("anthropic", found)[0])[1] == FIRST + LAST


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (rb'{"a":"\ud83d\ude00"}', "\U0001f600"),
        (rb'{"a":"\\ud83d"}', "\\ud83d"),
        (b'{"a":NaN}', None),
        (b'{"a":-Infinity}', None),
        (b'{"a":"NaN \x02"}', "NaN \x02"),
        (b'\xef\xbb\xbf{"a":"x"}', "x"),
    ],
)
def test_only_the_flaws_of_json_are_mended(given, value):
    assert decode_leniently(msgspec.json.Decoder(dict), given) == {"a": value}


@pytest.mark.parametrize("sound", [b'{"a":"x"}', rb'{"a":"\u0041\n\"\\"}', b"", b'{"a'])
def test_json_without_a_flaw_is_not_changed(sound):
    assert mended_json(sound) is None


@pytest.mark.parametrize("piece", [rb"\"", b'"', b'{"a":"', rb"\ud83d", b"NaN ", b"\x00", b"\xff", b"\\"])
def test_no_event_takes_longer_to_mend_than_to_read_once(piece):
    """Each would take hours if every quote began a search to the end."""
    data = b'{"a":"' + piece * (EVENT_LIMIT // len(piece))
    mended = mended_json(data)
    assert mended is None or len(mended) <= 6 * len(data)


@pytest.mark.parametrize("flaws", [rb"\ud83d ", b"\x01 ", b'","'])
def test_a_value_with_more_flaws_than_a_real_one_is_not_mended(flaws):
    few, many = (b'["' + flaws * count + rb'\ud83d"]' for count in (100, MOST_STEPS))
    assert mended_json(few) is not None
    assert mended_json(many) is None
