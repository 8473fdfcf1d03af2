"""The formats of OpenAI, which many other servers have, too."""

from wirekey.providers.description import NOTHING, USUAL_LIMITS
from wirekey.providers.format import CallPaths, Format, VectorFormat

CHAT = Format(
    name="openai.chat", called="openai", conversations=("chat.completions",),
    counts=(), counted_in="openai.responses", connections=(), others=(), vectors=None, turns="messages",
    paths=CallPaths("/v1/chat/completions", "/v1/chat/completions"),
    headers=NOTHING, request_id="x-request-id", limits=USUAL_LIMITS, otel_operation="chat",
)  # fmt: skip
RESPONSES = Format(
    name="openai.responses", called="openai", conversations=("responses",),
    counts=("responses.input_tokens",), counted_in=None, connections=("responses.connect",),
    others=("responses.compact",), vectors=None, turns="input", paths=CallPaths("/v1/responses", "/v1/responses"),
    headers=NOTHING, request_id="x-request-id", limits=USUAL_LIMITS, otel_operation="chat",
)  # fmt: skip
OPENAI_VECTORS = VectorFormat("openai.embeddings", ("embeddings",))
