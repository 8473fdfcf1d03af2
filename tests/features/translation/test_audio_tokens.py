"""The tokens of audio, which Chat Completions and Gemini count within the others, in whole responses and in streams.

No other format has a member for them. Gemini alone counts the cached audio.
"""

import json

import pytest

from tests.features.translation.cases import dumped
from tests.features.translation.response_forms import events, whole
from tests.features.translation.sdk_types import check_response
from tests.features.translation.streams import fold, upstream_bytes
from tests.features.translation.test_responses import reply_of
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.responses import StreamTranslator, translate_response

USAGE = {
    "openai.chat": ("usage", {
        "prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 30},
        "completion_tokens_details": {"audio_tokens": 8},
    }),
    "gemini": ("usageMetadata", {
        "promptTokenCount": 45, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 20, "totalTokenCount": 70,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19}, {"modality": "AUDIO", "tokenCount": 26}],
        "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "TEXT", "tokenCount": 1}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
    }),
}  # fmt: skip
COUNTED = {
    "openai.chat": {
        "prompt_tokens_details": {"audio_tokens": 30}, "completion_tokens_details": {"audio_tokens": 8},
    },
    "gemini": {
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
    },
}  # fmt: skip
PAIRS = [(client, upstream) for upstream in USAGE for client in FORMATS if client != upstream]
NAMES = {"openai.responses": "usage", "anthropic": "usage", "invoke": "usage", "converse": "usage"}


def translated(client, upstream, usage, *, streamed):
    """Return the whole response of a client, or the one that its SDK makes of a stream."""
    name, _ = USAGE[upstream]
    asked = {"stream_options": {"include_usage": True}} if client == "openai.chat" and streamed else {}
    reply = reply_of({"from": client, "to": upstream, "ask": asked}, stream=streamed)
    if not streamed:
        given = {**whole(upstream, "text"), name: usage}
        return json.loads(translate_response(200, dumped(given).encode(), reply).body)
    given = [
        {**one, name: usage} if isinstance(one, dict) and one.get(name) else one for one in events(upstream, "text")
    ]
    translator = StreamTranslator(reply)
    data = translator.feed(upstream_bytes(upstream, given)) + translator.end()
    assert translator.failure is None
    return fold(client, data)[0]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_the_tokens_of_audio_are_counted_where_the_client_has_a_member_for_them(client, upstream, streamed):
    found = translated(client, upstream, USAGE[upstream][1], streamed=streamed)
    usage = found[USAGE[client][0] if client in USAGE else NAMES[client]]
    if client not in COUNTED:
        assert "audio" not in json.dumps(usage).lower()
        return
    for name, expected in COUNTED[client].items():
        assert {**usage[name], **expected} == usage[name] if isinstance(expected, dict) else usage[name] == expected
    if not streamed:
        check_response(client, found)


@pytest.mark.parametrize(("client", "upstream"), [pair for pair in PAIRS if pair[0] in USAGE])
def test_a_response_without_audio_names_none(client, upstream):
    none = {
        "openai.chat": {"prompt_tokens_details": {"audio_tokens": 0}, "completion_tokens_details": {"audio_tokens": 0}},
        "gemini": {
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 45}],
            "candidatesTokensDetails": "absurd",
        },
    }
    usage = {**USAGE[upstream][1], **none[upstream], "toolUsePromptTokensDetails": None}
    found = translated(client, upstream, usage, streamed=False)
    assert "audio" not in json.dumps(found[USAGE[client][0]]).lower()
