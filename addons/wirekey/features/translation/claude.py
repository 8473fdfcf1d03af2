"""Sets how Claude thinks and what form its response has, for the formats that reach it: Messages and Converse."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.held_bytes import held_bytes
from wirekey.features.translation.media import base64_of_text
from wirekey.features.translation.options import number
from wirekey.features.translation.schemas import for_anthropic
from wirekey.features.translation.thinking import claude_budget, claude_effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from wirekey.features.translation.context import Context
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.members import Members

_UNBOUNDED = 1 << 31


MAX_KEPT_REASONING = 256 * 1024


class ReasoningKeeper:
    """Keeps the text and the signature of a streamed block of reasoning until its end: a client sends back both.

    It holds at most 256 KiB of all blocks of a response. Beyond that the state of further blocks is not carried.
    """

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._signatures: dict[int, list[str]] = {}
        self._redacted: dict[int, bytes] = {}
        self._held = 0

    def add_text(self, index: int, text: str) -> None:
        """Keep a piece of the text of a block."""
        self._add(self._texts, index, text)

    def add_signature(self, index: int, signature: str) -> None:
        """Keep a piece of the signature of a block."""
        self._add(self._signatures, index, signature)

    def add_redacted(self, index: int, data: bytes) -> None:
        """Keep a piece of redacted reasoning."""
        self._held += len(data)
        if self._held <= MAX_KEPT_REASONING:
            self._redacted[index] = self._redacted.get(index, b"") + data

    def _add(self, kept: dict[int, list[str]], index: int, piece: str) -> None:
        self._held += held_bytes(piece)
        if self._held <= MAX_KEPT_REASONING:
            kept.setdefault(index, []).append(piece)

    def end(self, index: int) -> list[n.Event]:
        """Return the end of a block, after its state if the whole state was kept."""
        text, signature = "".join(self._texts.pop(index, ())), "".join(self._signatures.pop(index, ()))
        redacted = self._redacted.pop(index, b"")
        found: list[n.Event] = [n.BlockEnd(index)]
        if self._held > MAX_KEPT_REASONING:
            return found
        if redacted:
            found.insert(0, n.StateDelta(index, redacted_reasoning(redacted)))
        elif signature:
            found.insert(0, n.StateDelta(index, n.Reasoning(text, signature, n.ModelMaker.CLAUDE)))
        return found


def redacted_reasoning(data: bytes) -> n.Reasoning:
    """Return redacted reasoning of Converse. Its bytes are the text that Anthropic calls `data`, if they are text."""
    try:
        return n.Reasoning(None, data.decode(), n.ModelMaker.CLAUDE, redacted=True)
    except UnicodeDecodeError:
        text = base64.b64encode(data).decode()
        return n.Reasoning(None, text, n.ModelMaker.CLAUDE, redacted=True, binary=True)


def redacted_content(reasoning: n.Reasoning) -> str:
    """Return redacted reasoning as Converse has it: the base64 of its bytes."""
    state = reasoning.state or ""
    return state if reasoning.binary else base64_of_text(state)


def asked_thinking(
    thinking: Members | None, effort: str | None, losses: Losses
) -> tuple[n.Thinking | None, n.ClaudeThinking | None]:
    """Return how the model should reason, in general and as Claude's formats say it."""
    if thinking is None:
        return (n.Thinking(effort), n.ClaudeThinking(effort=effort)) if effort else (None, None)
    kind = thinking.needed_text("type")
    budget, display = thinking.integer("budget_tokens"), thinking.text("display")
    thinking.drop_unread(losses)
    own = n.ClaudeThinking(kind, budget, display, effort)
    if kind == "disabled":
        return n.Thinking("none"), own
    return n.Thinking(effort, None if effort else budget, show=display != "omitted"), own


@dataclass(frozen=True, slots=True)
class ThinkingMembers:
    """The `thinking` member and the effort of a request to Claude. None means that it is left out."""

    thinking: dict[str, object] | None = None
    effort: str | None = None


def claude_thinking(
    conversation: n.Conversation, turns: Sequence[n.Turn], options: dict[str, Raw], context: Context
) -> ThinkingMembers:
    """Return how Claude should think, and remove from `options` what it does not accept beside thinking.

    Thinking gives way to a forced choice of a tool, and to a history whose last calls have no reasoning of Claude's
    own: Anthropic refuses both. Sampling gives way to thinking.
    """
    if conversation.thinking is None:
        return ThinkingMembers()
    mode, own = context.traits.thinking, conversation.claude
    if mode not in {"budget", "adaptive"}:
        if own is None or own.kind not in {None, "disabled"}:
            context.drop("reasoning")
        if own and own.effort:
            context.drop("effort")
        return ThinkingMembers()
    limit = number(options["max_tokens"]) if "max_tokens" in options else None
    most = int(limit) if limit is not None else _UNBOUNDED
    found = _as_said(own, mode, most, context) if own else _wanted(conversation.thinking, mode, most, context)
    if found.thinking is None or found.thinking["type"] == "disabled":
        return found
    forced = conversation.choice is not None and conversation.choice.mode in {"required", "one"}
    if forced or (mode == "budget" and _calls_without_reasoning(turns)):
        context.adjust("reasoning")
        return ThinkingMembers(effort=found.effort)
    for option in ("temperature", "top_k"):
        if option in options:
            if option == "top_k" or number(options[option]) != 1:
                context.adjust(option)
            del options[option]
    return found


def _as_said(own: n.ClaudeThinking, mode: str, limit: int, context: Context) -> ThinkingMembers:
    """Return what a client of Claude's formats said, as far as the model takes it: by a budget, or adaptive."""
    if own.kind in {None, "disabled"}:
        return ThinkingMembers({"type": "disabled"} if own.kind else None, own.effort)
    said = {"enabled": "budget", "adaptive": "adaptive"}.get(own.kind or "", mode)
    if said == mode:
        kept = n.Thinking(budget=own.budget) if mode == "budget" else n.Thinking(own.effort)
        found = _wanted(kept, mode, limit, context)
        effort = own.effort
    else:
        context.adjust("reasoning")
        found = _wanted(n.Thinking(own.effort, None if own.effort else own.budget), mode, limit, context)
        effort = found.effort
    if found.thinking and own.display:
        found.thinking["display"] = own.display
    return ThinkingMembers(found.thinking, effort)


def _wanted(thinking: n.Thinking, mode: str, limit: int, context: Context) -> ThinkingMembers:
    def adjust() -> None:
        context.adjust("reasoning")

    if mode == "budget":
        budget = claude_budget(thinking, limit, adjust)
        return ThinkingMembers({"type": "enabled", "budget_tokens": budget} if budget else None)
    effort = claude_effort(thinking, adjust)
    if effort == "none":
        return ThinkingMembers()
    return ThinkingMembers({"type": "adaptive"}, effort)


def _calls_without_reasoning(turns: Sequence[n.Turn]) -> bool:
    for turn in reversed(turns):
        if turn.role == "assistant":
            calls = any(isinstance(block, n.ToolCall) for block in turn.blocks)
            own = any(isinstance(block, n.Reasoning) and block.issuer is n.ModelMaker.CLAUDE for block in turn.blocks)
            return calls and not own
    return False


def output_schema(conversation: n.Conversation, context: Context) -> Raw | None:
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
    if output.description and not context.upstream.describes_output:
        context.drop("output_description")
    return for_anthropic(
        output.schema, lambda: context.adjust("output"), lambda reason: context.refuse("output", reason)
    )
