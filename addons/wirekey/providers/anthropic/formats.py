"""The format of Anthropic's Messages."""

from types import MappingProxyType

from wirekey.providers.description import LimitHeaders
from wirekey.providers.format import CallPaths, Format, SystemPrompt
from wirekey.providers.said import Said

LIMITS = LimitHeaders("anthropic-ratelimit-{counted}-{value}", reset_at=True)
MESSAGES = Format(
    name="anthropic", called="anthropic", conversations=("messages",),
    counts=("messages.count_tokens",), counted_in=None, connections=(), others=(), vectors=None, turns="messages",
    system=SystemPrompt.TEXT_OR_BLOCKS,
    said={
        "type=error": Said.OTHER,
        "type=message": {"content": {"*": Said.BLOCK}, "stop_reason": Said.END},
        "content_block": Said.BLOCK,
        "delta": {
            "text": Said.TEXT, "thinking": Said.REASONING, "partial_json": Said.ARGUMENTS, "stop_reason": Said.END,
        },
    },
    paths=CallPaths("/v1/messages", "/v1/messages"), headers=MappingProxyType({"anthropic-version": "2023-06-01"}),
    request_id="request-id", limits=LIMITS, otel_operation="chat",
)  # fmt: skip
