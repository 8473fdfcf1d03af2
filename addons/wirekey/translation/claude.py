"""Sets how Claude thinks and what form its response has, for the formats that reach it: Messages and Converse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.translation.neutral import ModelMaker, Reasoning, ToolCall
from wirekey.translation.options import number
from wirekey.translation.schemas import for_anthropic
from wirekey.translation.thinking import claude_budget, claude_effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from wirekey.translation.context import Context
    from wirekey.translation.neutral import Conversation, Turn

_UNBOUNDED = 1 << 31


@dataclass(frozen=True, slots=True)
class ClaudeThinking:
    """The `thinking` member and the effort of a request to Claude. None means that it is left out."""

    thinking: dict[str, object] | None = None
    effort: str | None = None


def claude_thinking(
    conversation: Conversation, turns: Sequence[Turn], options: dict[str, Raw], context: Context
) -> ClaudeThinking:
    """Return how Claude should think, and remove from `options` what it does not accept beside thinking.

    Thinking gives way to a forced choice of a tool, and to a history whose last calls have no reasoning of Claude's
    own: Anthropic refuses both. Sampling gives way to thinking.
    """
    wanted = conversation.thinking
    if wanted is None:
        return ClaudeThinking()
    mode = context.traits.thinking
    if mode not in {"budget", "adaptive"}:
        context.drop("reasoning")
        return ClaudeThinking()
    limit = number(options["max_tokens"]) if "max_tokens" in options else None
    found = _wanted(conversation, mode, int(limit) if limit is not None else _UNBOUNDED, context)
    if found.thinking is None:
        return found
    forced = conversation.choice is not None and conversation.choice.mode in {"required", "one"}
    if forced or (mode == "budget" and _calls_without_reasoning(turns)):
        context.adjust("reasoning")
        return ClaudeThinking(effort=found.effort)
    for option in ("temperature", "top_k"):
        if option in options:
            if option == "top_k" or number(options[option]) != 1:
                context.adjust(option)
            del options[option]
    return found


def _wanted(conversation: Conversation, mode: str, limit: int, context: Context) -> ClaudeThinking:
    assert conversation.thinking

    def adjust() -> None:
        context.adjust("reasoning")

    if mode == "budget":
        budget = claude_budget(conversation.thinking, limit, adjust)
        return ClaudeThinking({"type": "enabled", "budget_tokens": budget} if budget else None)
    effort = claude_effort(conversation.thinking, adjust)
    if effort == "none":
        return ClaudeThinking()
    return ClaudeThinking({"type": "adaptive"}, effort)


def _calls_without_reasoning(turns: Sequence[Turn]) -> bool:
    for turn in reversed(turns):
        if turn.role == "assistant":
            calls = any(isinstance(block, ToolCall) for block in turn.blocks)
            own = any(isinstance(block, Reasoning) and block.issuer is ModelMaker.CLAUDE for block in turn.blocks)
            return calls and not own
    return False


def output_schema(conversation: Conversation, context: Context) -> Raw | None:
    """Return the schema that the response must have, as Claude accepts it, or None without one.

    Raises Refusal if the model cannot be held to the format.
    """
    output = conversation.output
    if output is None:
        return None
    if output.kind == "json":
        context.drop("output")
        return None
    if output.kind == "enum" or not context.traits.output_format or output.schema is None:
        context.refuse("output", "this model cannot be held to a format")
        return None
    return for_anthropic(
        output.schema, lambda: context.adjust("output"), lambda reason: context.refuse("output", reason)
    )
