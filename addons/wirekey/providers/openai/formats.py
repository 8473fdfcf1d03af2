"""The formats of OpenAI, which many other servers have, too."""

from wirekey.providers.description import NOTHING, USUAL_LIMITS
from wirekey.providers.format import CallPaths, Format, SystemPrompt, VectorOperations
from wirekey.providers.said import Places, SaidKind

_OF_CHOICE: Places = {
    "content": SaidKind.TEXT, "reasoning_content": SaidKind.REASONING, "refusal": SaidKind.REFUSAL,
    "function_call": SaidKind.OTHER, "audio": SaidKind.OTHER,
    "tool_calls": {"0": SaidKind.OTHER, "*": {"function": {"name": SaidKind.TOOL, "arguments": SaidKind.ARGUMENTS}}},
}  # fmt: skip
CHAT = Format(
    name="openai.chat", called="openai", conversations=("chat.completions",),
    counts=(), counted_in="openai.responses", connections=(), others=(), vectors=None, turns="messages",
    system=SystemPrompt.MESSAGE,
    said={
        "error": SaidKind.OTHER,
        "choices": {
            "1": SaidKind.OTHER,
            "*": {
                "index": SaidKind.OTHER, "message": _OF_CHOICE, "delta": _OF_CHOICE, "text": SaidKind.TEXT,
                "finish_reason": SaidKind.END,
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
            ("output_text", SaidKind.TEXT), ("refusal", SaidKind.REFUSAL),
            ("function_call_arguments", SaidKind.ARGUMENTS), ("mcp_call_arguments", SaidKind.ARGUMENTS),
            ("reasoning_text", SaidKind.REASONING), ("reasoning_summary_text", SaidKind.REASONING),
        )
    },
    paths=CallPaths("/v1/responses", "/v1/responses"),
    headers=NOTHING, request_id="x-request-id", limits=USUAL_LIMITS, otel_operation="chat",
)  # fmt: skip
OPENAI_VECTORS = VectorOperations("openai.embeddings", ("embeddings",))
