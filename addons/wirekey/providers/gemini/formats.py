"""The formats of Google's Gemini API."""

from wirekey.providers.description import NOTHING
from wirekey.providers.format import CallPaths, Format, SystemPrompt, VectorOperations
from wirekey.providers.said import SaidKind

GEMINI_VECTORS = VectorOperations("gemini.embeddings", ("embedContent", "batchEmbedContents"))
GENERATE_CONTENT = Format(
    name="gemini", called="gemini", conversations=("generateContent", "streamGenerateContent"),
    counts=("countTokens",), counted_in=None, connections=(), others=(), vectors=GEMINI_VECTORS.name, turns="contents",
    system=SystemPrompt.CONTENT,
    said={
        "error": SaidKind.OTHER,
        "promptFeedback": {"blockReason": SaidKind.OTHER},
        "candidates": {
            "1": SaidKind.OTHER,
            "*": {"index": SaidKind.OTHER, "content": {"parts": {"*": SaidKind.BLOCK}}, "finishReason": SaidKind.END},
        },
    },
    paths=CallPaths("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent?alt=sse"),
    headers=NOTHING, request_id=None, limits=None, otel_operation="generate_content",
)  # fmt: skip
