"""A plain text document has another shape in each format, and the same text."""

import base64
import json

import pytest

from tests.features.translation.cases import MODELS, STATES
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import translate_request

TEXT = "Ein Satz: Zürich, 北.\n"
DATA = base64.b64encode(TEXT.encode()).decode()
URL = f"data:text/plain;base64,{DATA}"
ASK = "Sum up."
SENT = {
    "openai.chat": {"messages": [{"role": "user", "content": [
        {"type": "file", "file": {"filename": "a.txt", "file_data": URL}}, {"type": "text", "text": ASK}]}]},
    "openai.responses": {"input": [{"role": "user", "content": [
        {"type": "input_file", "filename": "a.txt", "file_data": URL}, {"type": "input_text", "text": ASK}]}]},
    "gemini": {"contents": [{"role": "user", "parts": [
        {"inlineData": {"mimeType": "text/plain", "data": DATA}}, {"text": ASK}]}]},
    "anthropic": {"max_tokens": 9, "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}},
        {"type": "text", "text": ASK}]}]},
    "converse": {"messages": [{"role": "user", "content": [
        {"document": {"format": "txt", "name": "a", "source": {"bytes": DATA}}}, {"text": ASK}]}]},
}  # fmt: skip
EXPECTED = {
    "openai.chat": {"type": "text", "text": TEXT},
    "openai.responses": {"type": "input_file", "file_data": URL},
    "gemini": {"inlineData": {"mimeType": "text/plain", "data": DATA}},
    "anthropic": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}},
    "converse": {"document": {"format": "txt", "source": {"bytes": DATA}}},
}


def without_name(block):
    """Return a block without the name of its document, which not every format has."""
    if "document" in block:
        return {"document": {name: value for name, value in block["document"].items() if name != "name"}}
    return {name: value for name, value in block.items() if name not in ("title", "filename")}


@pytest.mark.parametrize("upstream", EXPECTED)
@pytest.mark.parametrize("client", SENT)
def test_a_plain_text_document_reaches_each_upstream(client, upstream):
    body = json.dumps(SENT[client]).encode()
    found = translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES).body
    top = json.loads(found)
    (turn,) = top.get("messages") or top.get("contents") or top["input"]
    first, second = turn.get("content") or turn["parts"]
    assert without_name(first) == EXPECTED[upstream]
    assert ASK in second.values()
