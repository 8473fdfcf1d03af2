"""Web sources that a provider cites are annotations for OpenAI's clients, whole and streamed."""

import json

import pytest

from tests.features.translation.streams import sse_events, upstream_bytes
from tests.features.translation.test_responses import reply_of
from wirekey.features.translation.citations import (
    converse_citations,
    grounding_citations,
    openai_citations,
    web_citations,
)
from wirekey.features.translation.responses import StreamTranslator, translate_response

URL, TITLE, SAID = "https://example.com/a", "A page", "Grüße from there"
WEB = {"type": "web_search_result_location", "url": URL, "title": TITLE}
FLAT = {"type": "url_citation", "url": URL, "title": TITLE, "start_index": 0, "end_index": 5}
GROUNDING = {
    "groundingChunks": [{"web": {"uri": URL, "title": TITLE}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 7}, "groundingChunkIndices": [0]}],
}
USAGE = {"input_tokens": 1, "output_tokens": 1}
WHOLE = {
    "anthropic": {
        "id": "msg_1", "content": [{"type": "text", "text": SAID, "citations": [WEB, {"type": "page_location"}]}],
        "stop_reason": "end_turn", "usage": USAGE,
    },
    "converse": {
        "output": {"message": {"role": "assistant", "content": [{"citationsContent": {
            "content": [{"text": SAID}], "citations": [{"title": TITLE, "location": {"web": {"url": URL}}}],
        }}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1},
    },
    "gemini": {
        "candidates": [{
            "content": {"parts": [{"text": SAID}]}, "finishReason": "STOP", "groundingMetadata": GROUNDING,
        }],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    },
    "openai.chat": {
        "id": "c", "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "choices": [{"finish_reason": "stop", "message": {"content": SAID, "annotations": [
            {"type": "url_citation", "url_citation": {"url": URL, "title": TITLE, "start_index": 0, "end_index": 5}},
        ]}}],
    },
    "openai.responses": {
        "id": "r", "status": "completed", "usage": USAGE,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": SAID, "annotations": [FLAT]}]}],
    },
}  # fmt: skip
STREAMED = {
    "anthropic": [
        {"type": "message_start", "message": {"id": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": WEB}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ],
    "converse": [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": SAID}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"citation": {
            "title": TITLE, "location": {"web": {"url": URL}},
        }}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}},
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": SAID}]}}]},
        {"candidates": [{"finishReason": "STOP", "groundingMetadata": GROUNDING}]},
    ],
    "openai.responses": [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": SAID},
        {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0, "annotation": FLAT},
        {"type": "response.content_part.done", "output_index": 0, "content_index": 0},
        {"type": "response.completed", "response": {"status": "completed", "usage": USAGE}},
    ],
}  # fmt: skip
EXACT = {"gemini", "openai.chat", "openai.responses"}
"""Upstreams that say which characters a source is for."""


def end(upstream, *, streamed=False):
    return 5 if upstream in EXACT - ({"gemini"} if streamed else set()) else len(SAID)


@pytest.mark.parametrize("upstream", [name for name in WHOLE if name != "openai.chat"])
def test_a_response_of_chat_completions_has_annotations(upstream):
    reply = reply_of({"from": "openai.chat", "to": upstream})
    body = json.loads(translate_response(200, json.dumps(WHOLE[upstream]).encode(), reply).body)
    cited = {"url": URL, "title": TITLE, "start_index": 0, "end_index": end(upstream)}
    assert body["choices"][0]["message"]["annotations"] == [{"type": "url_citation", "url_citation": cited}]


@pytest.mark.parametrize("upstream", [name for name in WHOLE if name != "openai.responses"])
def test_a_response_of_responses_has_annotations(upstream):
    reply = reply_of({"from": "openai.responses", "to": upstream})
    body = json.loads(translate_response(200, json.dumps(WHOLE[upstream]).encode(), reply).body)
    assert body["output"][0]["content"][0]["annotations"] == [{**FLAT, "end_index": end(upstream)}]


@pytest.mark.parametrize("client", ["gemini", "anthropic", "converse"])
def test_other_clients_are_told_that_citations_were_dropped(client):
    reply = reply_of({"from": client, "to": "openai.responses"})
    translate_response(200, json.dumps(WHOLE["openai.responses"]).encode(), reply)
    assert reply.context.losses.headers()["x-wirekey-dropped"] == "citations"


def streamed(client, upstream):
    translator = StreamTranslator(reply_of({"from": client, "to": upstream}, stream=True))
    data = translator.feed(upstream_bytes(upstream, STREAMED[upstream])) + translator.end()
    assert translator.failure is None
    return [json.loads(text) for _, text in sse_events(data) if text != "[DONE]"]


@pytest.mark.parametrize("upstream", STREAMED)
def test_a_stream_of_chat_completions_has_annotations(upstream):
    deltas = [choice["delta"] for chunk in streamed("openai.chat", upstream) for choice in chunk["choices"]]
    (found,) = [delta["annotations"] for delta in deltas if "annotations" in delta]
    cited = {"url": URL, "title": TITLE, "start_index": 0, "end_index": end(upstream, streamed=True)}
    assert found == [{"type": "url_citation", "url_citation": cited}]


@pytest.mark.parametrize("upstream", [name for name in STREAMED if name != "openai.responses"])
def test_a_stream_of_responses_announces_and_repeats_annotations(upstream):
    events = streamed("openai.responses", upstream)
    (added,) = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert (added["output_index"], added["content_index"], added["annotation_index"]) == (0, 0, 0)
    assert added["annotation"] == {**FLAT, "end_index": len(SAID)}
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [added["annotation"]]


@pytest.mark.parametrize("read", [web_citations, converse_citations, openai_citations, grounding_citations])
@pytest.mark.parametrize(
    "found", [None, 1, "x", {}, [], [1], [None], [{}], [{"url": 1}], {"groundingChunks": [None, {"web": 1}]}]
)
def test_anything_else_is_no_citation(read, found):
    assert read(found) == ()


@pytest.mark.parametrize(
    "support",
    [None, {}, {"groundingChunkIndices": [9, "0", True]}, {"segment": {"endIndex": -1}, "groundingChunkIndices": 0}],
)
def test_a_support_that_names_no_source_leaves_the_sources(support):
    found = grounding_citations({**GROUNDING, "groundingSupports": [support]}, SAID)
    assert [one.url for one in found] == [URL]
