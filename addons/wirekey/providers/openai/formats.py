"""The formats of OpenAI, which many other servers have, too."""

from wirekey.providers.description import NOTHING, USUAL_LIMITS
from wirekey.providers.format import CallPaths, Format, SystemPrompt, VectorFormat
from wirekey.providers.said import Places, Said

_OF_CHOICE: Places = {
    "content": Said.TEXT, "reasoning_content": Said.REASONING, "refusal": Said.REFUSAL, "function_call": Said.OTHER,
    "audio": Said.OTHER,
    "tool_calls": {"0": Said.OTHER, "*": {"function": {"name": Said.TOOL, "arguments": Said.ARGUMENTS}}},
}  # fmt: skip
CHAT = Format(
    name="openai.chat", called="openai", conversations=("chat.completions",),
    counts=(), counted_in="openai.responses", connections=(), others=(), vectors=None, turns="messages",
    system=SystemPrompt.MESSAGE,
    said={
        "error": Said.OTHER,
        "choices": {
            "1": Said.OTHER,
            "*": {
                "index": Said.OTHER, "message": _OF_CHOICE, "delta": _OF_CHOICE, "text": Said.TEXT,
                "finish_reason": Said.END,
            },
        },
    },
    paths=CallPaths("/v1/chat/completions", "/v1/chat/completions"),
    headers=NOTHING, request_id="x-request-id", limits=USUAL_LIMITS, otel_operation="chat",
)  # fmt: skip
RESPONSES = Format(
    name="openai.responses", called="openai", conversations=("responses",),
    counts=("responses.input_tokens",), counted_in=None, connections=("responses.connect",),
    others=("responses.compact",), vectors=None, turns="input",
    system=SystemPrompt.INSTRUCTIONS,
    said={
        f"type=response.{name}.delta": {"delta": kind}
        for name, kind in (
            ("output_text", Said.TEXT), ("refusal", Said.REFUSAL), ("function_call_arguments", Said.ARGUMENTS),
            ("mcp_call_arguments", Said.ARGUMENTS), ("reasoning_text", Said.REASONING),
            ("reasoning_summary_text", Said.REASONING),
        )
    },
    paths=CallPaths("/v1/responses", "/v1/responses"),
    headers=NOTHING, request_id="x-request-id", limits=USUAL_LIMITS, otel_operation="chat",
)  # fmt: skip
OPENAI_VECTORS = VectorFormat("openai.embeddings", ("embeddings",))
