"""The search for signed state finds it wherever it stands in a request, also beside long strings."""

import base64
import json

import pytest

from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.own_format import has_signed_state, without_signed_state
from wirekey.features.translation.state import GEMINI_MARKER, MARKER, SKIP_SIGNATURE

LONG = b"x" * 5000
ID = b'"call_abc_wk1_eyJ"'
SIGNATURE = b'"wk1_eyJ"'
GEMINI_SIGNATURE = b'"' + base64.b64encode(GEMINI_MARKER) + b'AAAA"'
REDACTED = b'"' + base64.b64encode(MARKER.encode()[:3]) + b'AAAA"'
PLACES = [
    ("openai.chat", ID),
    ("openai.responses", ID),
    ("openai.responses", SIGNATURE),
    ("anthropic", SIGNATURE),
    ("gemini", GEMINI_SIGNATURE),
    ("converse", SIGNATURE),
    ("converse", REDACTED),
]


@pytest.mark.parametrize(("form", "mark"), PLACES)
@pytest.mark.parametrize("before", [b"", b'"a",', b'"' + LONG + b'",', b'"' + LONG + b'","b",' * 3])
@pytest.mark.parametrize("after", [b"", b',"' + LONG + b'"'])
def test_signed_state_is_found(form, mark, before, after):
    assert has_signed_state(FORMATS[form], b"[" + before + mark + after + b"]")
    assert not has_signed_state(FORMATS[form], b"[" + before + b'"wk_1"' + after + b"]")


@pytest.mark.parametrize("form", FORMATS)
def test_a_quick_search_finds_each_mark(form):
    places = FORMATS[form].state_places
    assert places.marks
    assert all(places.in_each in mark for mark in places.marks)


@pytest.mark.parametrize("call", ["functionCall", "function_call"])
@pytest.mark.parametrize("signature", ["thoughtSignature", "thought_signature"])
def test_a_call_of_another_model_keeps_a_signature_for_gemini_in_either_spelling(call, signature):
    signed = base64.b64encode(GEMINI_MARKER).decode() + "AAAA"
    part = {call: {"name": "clock", "args": {}}, signature: signed}
    body = json.dumps({"contents": [{"role": "model", "parts": [part]}]}).encode()
    found = json.loads(without_signed_state(FORMATS["gemini"], body, "gemini-3-pro-preview"))
    assert found["contents"][0]["parts"] == [{**part, signature: SKIP_SIGNATURE}]


@pytest.mark.parametrize(
    ("form", "turns", "blocks"), [("gemini", "contents", "parts"), ("anthropic", "messages", "content")]
)
def test_a_turn_without_signed_state_keeps_its_bytes(form, turns, blocks):
    text = b'{ "role" : "user", "%b": [ {"text": "Hi", "type": "text"} ] }' % blocks.encode()
    thought = {"type": "thinking", "thinking": "hm", "signature": "wk1_AAAA"}
    signature = base64.b64encode(GEMINI_MARKER).decode() + "AAAA"
    part = {"text": "", "thoughtSignature": signature} if form == "gemini" else thought
    signed = json.dumps({"role": "model", blocks: [{"text": "Hello"}, part]}).encode()
    body = b'{"%b": [%b, %b, %b]}' % (turns.encode(), text, signed, text)
    found = without_signed_state(FORMATS[form], body, "gemini-3-pro-preview")
    assert found.count(text) == 2
    assert json.loads(found)[turns][1] == {"role": "model", blocks: [{"text": "Hello"}]}
