"""The format of Anthropic's Messages."""

from types import MappingProxyType

from wirekey.providers.description import LimitHeaders
from wirekey.providers.format import CallPaths, Format, SystemPrompt
from wirekey.providers.said import SaidKind

LIMITS = LimitHeaders("anthropic-ratelimit-{counted}-{value}", reset_at=True)
MESSAGES = Format(
    name="anthropic", called="anthropic", conversations=("messages",),
    counts=("messages.count_tokens",), counted_in=None, connections=(), others=(), vectors=None, turns="messages",
    system=SystemPrompt.TEXT_OR_BLOCKS,
    said={
        "type=error": SaidKind.OTHER,
        "type=message": {"content": {"*": SaidKind.BLOCK}, "stop_reason": SaidKind.END},
        "content_block": SaidKind.BLOCK,
        "delta": {
            "text": SaidKind.TEXT, "thinking": SaidKind.REASONING, "partial_json": SaidKind.ARGUMENTS,
            "stop_reason": SaidKind.END,
        },
    },
    paths=CallPaths("/v1/messages", "/v1/messages"), headers=MappingProxyType({"anthropic-version": "2023-06-01"}),
    request_id="request-id", limits=LIMITS, otel_operation="chat",
)  # fmt: skip
