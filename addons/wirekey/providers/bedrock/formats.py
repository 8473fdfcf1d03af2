"""The formats of Bedrock: Converse, and InvokeModel with the body of a model's maker."""

from dataclasses import replace

from wirekey.providers.anthropic.formats import MESSAGES
from wirekey.providers.description import NOTHING
from wirekey.providers.format import CallPaths, Format, SystemPrompt
from wirekey.providers.openai.formats import CHAT
from wirekey.providers.said import SaidKind

CONVERSE = Format(
    name="converse", called="bedrock", conversations=("converse", "converse-stream"),
    counts=("count-tokens",), counted_in=None, connections=(), others=(), vectors=None, turns="messages",
    system=SystemPrompt.BLOCKS,
    said={
        "output": {"message": {"content": {"*": SaidKind.BLOCK}}}, "stopReason": SaidKind.END,
        "contentBlockStart": {"start": SaidKind.BLOCK}, "contentBlockDelta": {"delta": SaidKind.BLOCK},
        "messageStop": {"stopReason": SaidKind.END},
    },
    paths=CallPaths("/model/{model}/converse", "/model/{model}/converse-stream"),
    headers=NOTHING, request_id="x-amzn-requestid", limits=None, otel_operation="chat",
)  # fmt: skip
INVOKE = replace(
    CONVERSE, name="invoke", called=None, conversations=("invoke", "invoke-with-response-stream"), counts=(),
    system=SystemPrompt.OF_MODEL,
    said={
        **CHAT.said, **MESSAGES.said, **CONVERSE.said, "outputText": SaidKind.TEXT, "generation": SaidKind.TEXT,
        "outputs": {"*": {"text": SaidKind.TEXT}}, "event_type=text-generation": {"text": SaidKind.TEXT},
    },
    paths=CallPaths("/model/{model}/invoke", "/model/{model}/invoke-with-response-stream"), otel_operation=None,
)  # fmt: skip
