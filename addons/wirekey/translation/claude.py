"""Sets how Claude thinks and what form its response has, for the formats that reach it: Messages and Converse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.translation.held_bytes import held_bytes
from wirekey.translation.neutral import BlockEnd, ModelMaker, Reasoning, StateDelta, ToolCall
from wirekey.translation.options import number
from wirekey.translation.schemas import for_anthropic
from wirekey.translation.thinking import claude_budget, claude_effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from wirekey.translation.context import Context
    from wirekey.translation.neutral import Conversation, Event, Turn

_UNBOUNDED = 1 << 31


MAX_KEPT_REASONING = 256 * 1024


class ReasoningKeeper:
    """Keeps the text and the signature of a streamed block of reasoning until its end: a client sends back both.

    It holds at most 256 KiB of all blocks of a response. Beyond that the state of further blocks is not carried.
    """

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._signatures: dict[int, list[str]] = {}
        self._held = 0

    def add_text(self, index: int, text: str) -> None:
        """Keep a piece of the text of a block."""
        self._add(self._texts, index, text)

    def add_signature(self, index: int, signature: str) -> None:
        """Keep a piece of the signature of a block."""
        self._add(self._signatures, index, signature)

    def _add(self, kept: dict[int, list[str]], index: int, piece: str) -> None:
        self._held += held_bytes(piece)
        if self._held <= MAX_KEPT_REASONING:
            kept.setdefault(index, []).append(piece)

    def end(self, index: int) -> list[Event]:
        """Return the end of a block, after its state if all of it was kept."""
        text, signature = "".join(self._texts.pop(index, ())), "".join(self._signatures.pop(index, ()))
        if signature and self._held <= MAX_KEPT_REASONING:
            return [StateDelta(index, Reasoning(text, signature, ModelMaker.CLAUDE)), BlockEnd(index)]
        return [BlockEnd(index)]


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
