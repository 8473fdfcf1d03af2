"""A custom provider, called itself and from other formats, over each delivery."""

from __future__ import annotations

from tests.deliveries.paths import each_delivery
from tests.deliveries.provider_rows import MESSAGE, STREAM, USER, Row, failed

DEPLOYMENT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
ROWS = {
    "azure": Row("azure", DEPLOYMENT, USER, "openai.chat", "azure/1"),
    "azure, stream": Row("azure", DEPLOYMENT, USER | STREAM, "openai.chat", "azure/1"),
    "to azure": Row("openai", "/v1/chat/completions", {"model": "azure:gpt-4o", **USER}, "openai.chat", "azure/1"),
    "to azure, translated": Row(
        "anthropic", "/v1/messages", {"model": "azure:gpt-4o", **MESSAGE} | STREAM, "anthropic", "azure/1",
        "anthropic>openai.chat",
    ),
}  # fmt: skip


@each_delivery(1)
def test_every_response_arrives_whole_in_any_delivery(deployment, path, delivery):
    assert failed(deployment, path, delivery, ROWS) == []
