"""Vertex AI, called itself and from other formats, over each delivery."""

from __future__ import annotations

from tests.deliveries.paths import each_delivery
from tests.deliveries.provider_rows import MESSAGE, STREAM, USER, Row, failed

DEFAULT = "vertex/default"
AT = "projects/my-project/locations/europe-west4"
FLASH = f"/v1beta1/{AT}/publishers/google/models/gemini-2.5-flash"
SONNET = f"/v1/{AT}/publishers/anthropic/models/claude-sonnet-4-5"
COMPATIBLE = f"/v1/{AT}/endpoints/openapi/chat/completions"
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
OWN_MESSAGE = {"anthropic_version": "vertex-2023-10-16", **MESSAGE}
ROWS = {
    "gemini": Row("vertex", f"{FLASH}:generateContent", CONTENTS, "gemini", DEFAULT),
    "gemini, events": Row("vertex", f"{FLASH}:streamGenerateContent?alt=sse", CONTENTS, "gemini", DEFAULT),
    "gemini, array": Row("vertex", f"{FLASH}:streamGenerateContent", CONTENTS, "gemini", DEFAULT),
    "claude": Row("vertex", f"{SONNET}:rawPredict", OWN_MESSAGE, "anthropic", DEFAULT),
    "claude, stream": Row("vertex", f"{SONNET}:streamRawPredict", OWN_MESSAGE | STREAM, "anthropic", DEFAULT),
    "chat": Row("vertex", COMPATIBLE, {"model": "google/gemini-2.5-pro", **USER}, "openai.chat", DEFAULT),
    "to gemini": Row(
        "gemini", "/v1beta/models/vertex%3Agemini-2.5-flash:streamGenerateContent?alt=sse", CONTENTS, "gemini", DEFAULT
    ),
    "to gemini, chat": Row(
        "openai", "/v1/chat/completions", {"model": "vertex:gemini-2.5-flash", **USER} | STREAM, "openai.chat", DEFAULT
    ),
    "to claude": Row(
        "anthropic", "/v1/messages", {"model": "vertex:claude-sonnet-4-5", **MESSAGE} | STREAM, "anthropic", DEFAULT
    ),
    "to claude, translated": Row(
        "openai", "/v1/chat/completions", {"model": "vertex:claude-sonnet-4-5", **USER} | STREAM, "openai.chat",
        DEFAULT, "openai.chat>anthropic",
    ),
}  # fmt: skip


@each_delivery(1)
def test_every_response_arrives_whole_in_any_delivery(deployment, path, delivery):
    assert failed(deployment, path, delivery, ROWS) == []
