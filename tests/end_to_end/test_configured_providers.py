"""Vertex AI and a custom provider, called themselves and from other formats, over each delivery."""

from __future__ import annotations

from typing import NamedTuple

from tests.deliveries.paths import RowAgent, each_delivery, failed_rows
from wirekey.features.rollup.answers import read_answer
from wirekey_simulator.text import TEXT

AT = "projects/my-project/locations/europe-west4"
FLASH = f"/v1beta1/{AT}/publishers/google/models/gemini-2.5-flash"
SONNET = f"/v1/{AT}/publishers/anthropic/models/claude-sonnet-4-5"
COMPATIBLE = f"/v1/{AT}/endpoints/openapi/chat/completions"
DEPLOYMENT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
USER = {"messages": [{"role": "user", "content": "hello"}]}
MESSAGE = {"max_tokens": 50, **USER}
OWN_MESSAGE = {"anthropic_version": "vertex-2023-10-16", **MESSAGE}
STREAM = {"stream": True}


class Row(NamedTuple):
    """A call: whose API, where, what, the format of its response, and the credential and translation in its event."""

    provider: str
    path: str
    body: dict
    form: str
    credential: str = "vertex/default"
    translation: str | None = None


ROWS = {
    "gemini": Row("vertex", f"{FLASH}:generateContent", CONTENTS, "gemini"),
    "gemini, events": Row("vertex", f"{FLASH}:streamGenerateContent?alt=sse", CONTENTS, "gemini"),
    "gemini, array": Row("vertex", f"{FLASH}:streamGenerateContent", CONTENTS, "gemini"),
    "claude": Row("vertex", f"{SONNET}:rawPredict", OWN_MESSAGE, "anthropic"),
    "claude, stream": Row("vertex", f"{SONNET}:streamRawPredict", OWN_MESSAGE | STREAM, "anthropic"),
    "chat": Row("vertex", COMPATIBLE, {"model": "google/gemini-2.5-pro", **USER}, "openai.chat"),
    "azure": Row("azure", DEPLOYMENT, USER, "openai.chat", "azure/1"),
    "azure, stream": Row("azure", DEPLOYMENT, USER | STREAM, "openai.chat", "azure/1"),
    "to azure": Row("openai", "/v1/chat/completions", {"model": "azure:gpt-4o", **USER}, "openai.chat", "azure/1"),
    "to azure, translated": Row(
        "anthropic", "/v1/messages", {"model": "azure:gpt-4o", **MESSAGE} | STREAM, "anthropic", "azure/1",
        "anthropic>openai.chat",
    ),
    "to gemini": Row(
        "gemini", "/v1beta/models/vertex%3Agemini-2.5-flash:streamGenerateContent?alt=sse", CONTENTS, "gemini"
    ),
    "to gemini, chat": Row(
        "openai", "/v1/chat/completions", {"model": "vertex:gemini-2.5-flash", **USER} | STREAM, "openai.chat",
    ),
    "to claude": Row(
        "anthropic", "/v1/messages", {"model": "vertex:claude-sonnet-4-5", **MESSAGE} | STREAM, "anthropic"
    ),
    "to claude, translated": Row(
        "openai", "/v1/chat/completions", {"model": "vertex:claude-sonnet-4-5", **USER} | STREAM, "openai.chat",
        translation="openai.chat>anthropic",
    ),
}  # fmt: skip


@each_delivery(1)
def test_every_response_arrives_whole_in_any_delivery(deployment, path, delivery):
    def check(agent: RowAgent, row: Row) -> None:
        response = agent.client.request(**agent.request(row.provider, "POST", row.path, json=row.body))
        assert response.status_code == 200, response.text
        assert read_answer(row.form, response.headers["content-type"], response.content) == TEXT
        (event,) = agent.events(1)
        assert (event["outcome"], event["credential"]) == ("completed", row.credential)
        assert event["translation"] == row.translation
        assert event["output_tokens"] is not None

    assert failed_rows(deployment, path, delivery, ROWS, check) == []
