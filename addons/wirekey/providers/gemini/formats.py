"""The formats of Google's Gemini API."""

from wirekey.providers.description import NOTHING
from wirekey.providers.format import CallPaths, Format, SystemPrompt, VectorFormat
from wirekey.providers.said import Said

GEMINI_VECTORS = VectorFormat("gemini.embeddings", ("embedContent", "batchEmbedContents"))
GENERATE_CONTENT = Format(
    name="gemini", called="gemini", conversations=("generateContent", "streamGenerateContent"),
    counts=("countTokens",), counted_in=None, connections=(), others=(), vectors=GEMINI_VECTORS.name, turns="contents",
    system=SystemPrompt.CONTENT,
    said={
        "error": Said.OTHER,
        "promptFeedback": {"blockReason": Said.OTHER},
        "candidates": {
            "1": Said.OTHER,
            "*": {"index": Said.OTHER, "content": {"parts": {"*": Said.BLOCK}}, "finishReason": Said.END},
        },
    },
    paths=CallPaths("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent?alt=sse"),
    headers=NOTHING, request_id=None, limits=None, otel_operation="generate_content",
)  # fmt: skip
