"""The meaning of the messages of Gemini Live."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.operation import Usage
from wirekey.features.realtime.gemini import TURN, GeminiLive
from wirekey.features.realtime.messages import Asks, Reports, ServerMessage
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

protocol, gemini = GeminiLive(), PROVIDERS["gemini"].operations
PATH = "/ws/google.ai.generativelanguage.{}.GenerativeService.BidiGenerateContent"
OPERATION = gemini.match_operation("GET", PATH.format("v1beta"), {})
BEGAN = ServerMessage(Reports.BEGAN, TURN)


def message(**members) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize("version", ["v1beta", "v1alpha"])
def test_the_path_of_each_version_opens_a_connection_whose_first_message_is_read(version):
    found = gemini.match_operation("GET", PATH.format(version), {})
    assert (found.name, found.body, found.model) == ("realtime", Body.MESSAGE, None)
    assert gemini.plain_target(f"/{PATH.format(version)}?a=b") == f"{PATH.format(version)}?a=b"


def test_ephemeral_tokens_are_administration():
    found = gemini.match_operation("GET", PATH.format("v1alpha") + "Constrained", {})
    assert (found.name, found.kind) == ("realtime.constrained", "administration")


def test_the_facts_of_a_setup_are_read_in_both_spellings():
    for setup in (
        {
            "model": "models/gemini-live",
            "systemInstruction": {"parts": []},
            "generationConfig": {"maxOutputTokens": 40},
            "tools": [{"functionDeclarations": [{"name": "look_up"}]}, {"googleSearch": {}}],
        },
        {
            "model": "gemini-live",
            "system_instruction": {"parts": []},
            "generation_config": {"max_output_tokens": 40},
            "tools": [{"function_declarations": [{"name": "look_up"}]}, {"google_search": {}}],
        },
    ):
        payload = message(setup=setup)
        read = protocol.read_client(payload)
        assert read.asks is Asks.SETTINGS
        assert read.facts == gemini.read_request(OPERATION, {}, "", payload)
        assert (read.facts.model, read.facts.max_tokens, read.facts.stream) == ("gemini-live", 40, True)
        assert (set(read.facts.tools), read.facts.has_system) == ({"look_up", "googleSearch"}, True)


@pytest.mark.parametrize(
    ("members", "asks"),
    [
        ({"clientContent": {"turns": [], "turnComplete": True}}, Asks.RESPONSE),
        ({"client_content": {"turns": [], "turn_complete": True}}, Asks.RESPONSE),
        ({"clientContent": {"turns": [], "turnComplete": False}}, Asks.NOTHING),
        ({"clientContent": {"turns": []}}, Asks.NOTHING),
        ({"realtimeInput": {"text": "Hello."}}, Asks.NOTHING),
        ({"toolResponse": {"functionResponses": []}}, Asks.NOTHING),
        ({"somethingNew": {}}, Asks.NOTHING),
    ],
    ids=str,
)
def test_the_messages_that_ask_for_something_are_judged(members, asks):
    assert protocol.read_client(message(**members)).asks is asks


@pytest.mark.parametrize(("turns", "count"), [([{}, {}], 2), ({}, 1), ([], 0)], ids=str)
def test_the_turns_of_a_message_are_counted(turns, count):
    read = protocol.read_client(message(clientContent={"turns": turns, "turnComplete": True}))
    assert read.facts.message_count == count


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"setup":{"model":"a"},"setup":{"model":"b"}}',
        b'{"setup":{"model":"a"},"\\u0073etup":{"model":"b"}}',
        b'{"Setup":{"model":"a"}}',
        b'{"setup":{"model":"a","model":"b"}}',
        b'{"setup":{"model":"a","tools":{"function_declarations":[],"functionDeclarations":[]}}}',
        b'{"setup":{"model":"a"},"clientContent":{}}',
        b'{"clientContent":{},"client_content":{}}',
        b'{"clientContent":{"turnComplete":false,"turn_complete":true}}',
        b'{"clientContent":{"turnComplete":false,"TurnComplete":true}}',
        b'{"setup":{"tools":[]}}',
        b'{"setup":[]}',
    ],
)
def test_a_message_that_could_be_read_in_two_ways_is_refused(payload):
    with pytest.raises(Refusal) as refused:
        protocol.read_client(payload)
    assert refused.value.status == 400


@pytest.mark.parametrize("payload", [b"{}", b'{"setup":null}', b'{"clientContent":{"turnComplete":true}}'])
def test_a_first_message_without_a_setup_is_refused(payload):
    with pytest.raises(Refusal) as refused:
        gemini.read_request(OPERATION, {}, "", payload)
    assert refused.value.status == 400


def test_the_edits_of_a_setup_change_one_span_each():
    payload = b'{ "setup":{"model" : "models/a", "generation_config":{"temperature":2}, "x":1} }'

    def edited(**edits):
        return gemini.edit_request(OPERATION, b"/ws/x", "", payload, RequestEdits(**edits)).body

    assert edited(model="b") == payload.replace(b"models/a", b"models/b")
    assert edited(model="a") is payload
    assert edited(clamp_temperature=True) == payload.replace(b":2", b":1")
    assert json.loads(edited(max_tokens=5))["setup"]["generation_config"] == {"temperature": 2, "maxOutputTokens": 5}
    assert json.loads(edited(parameters=(("top_p", 0.5),)))["setup"]["generation_config"]["topP"] == 0.5


def test_a_limit_is_set_in_a_second_setup_and_in_no_other_message():
    setup = message(setup={"model": "models/a", "generationConfig": {"maxOutputTokens": 90}})
    limited = protocol.with_limit(setup, protocol.read_client(setup), 50)
    assert json.loads(limited)["setup"]["generationConfig"] == {"maxOutputTokens": 50}
    content = message(clientContent={"turnComplete": True})
    with pytest.raises(Refusal) as refused:
        protocol.with_limit(content, protocol.read_client(content), 50)
    assert refused.value.code == "cannot_cap"


COUNTS = {
    "promptTokenCount": 20,
    "toolUsePromptTokenCount": 2,
    "cachedContentTokenCount": 4,
    "responseTokenCount": 10,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 35,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 12}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}, {"modality": "TEXT", "tokenCount": 3}],
}
USAGE = Usage(22, 13, 4, 3, audio_input_tokens=12, audio_output_tokens=7)
ENDED = ServerMessage(Reports.ENDED, TURN, Usage(finish_reason="turnComplete"))


@pytest.mark.parametrize(
    ("members", "reports"),
    [
        ({"setupComplete": {}}, ()),
        ({"serverContent": {"inputTranscription": {"text": "a"}}}, ()),
        ({"serverContent": {"generationComplete": True}}, ()),
        ({"serverContent": {"modelTurn": {"parts": [{"text": "a"}]}}}, (BEGAN,)),
        ({"serverContent": {"outputTranscription": {"text": "a"}}}, (BEGAN,)),
        ({"toolCall": {"functionCalls": []}}, (BEGAN,)),
        ({"usageMetadata": COUNTS}, (BEGAN, ServerMessage(Reports.COUNTED, TURN, USAGE))),
        (
            {"toolCall": {}, "usageMetadata": COUNTS},
            (BEGAN, ServerMessage(Reports.COUNTED, TURN, USAGE)),
        ),
        ({"serverContent": {"turnComplete": True}}, (BEGAN, ENDED)),
        (
            {"serverContent": {"turnComplete": True}, "usageMetadata": COUNTS},
            (BEGAN, ServerMessage(Reports.COUNTED, TURN, USAGE), ENDED),
        ),
        (
            {"serverContent": {"interrupted": True}},
            (ServerMessage(Reports.COUNTED, TURN, Usage(finish_reason="interrupted")),),
        ),
        ({"serverContent": {"modelTurn": {"parts": [{"text": '"turnComplete": true'}]}}}, (BEGAN,)),
        ({"usageMetadata": {"promptTokenCount": -1}}, ()),
        ({"goAway": {"timeLeft": "10s"}}, ()),
    ],
    ids=str,
)
def test_the_messages_of_a_turn_report_its_beginning_its_tokens_and_its_end(members, reports):
    assert protocol.read_server(message(**members)) == reports


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: message(serverContent=text, turnComplete=1)))
def test_no_message_of_a_provider_raises(payload):
    protocol.read_server(payload)


def test_parts_of_a_usage_add_up():
    interrupted = Usage(1, finish_reason="interrupted")
    assert interrupted.plus(USAGE) == Usage(23, 13, 4, 3, "interrupted", audio_input_tokens=12, audio_output_tokens=7)
    assert Usage().plus(Usage()) == Usage()


def test_the_end_of_a_connection_is_announced():
    assert json.loads(protocol.going_away(9)) == {"goAway": {"timeLeft": "9s"}}
