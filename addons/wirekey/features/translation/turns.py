"""Orders the turns of a conversation as an upstream accepts them."""

from __future__ import annotations

from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import Raw

from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.members import object_text, raw_json
from wirekey.features.translation.neutral import Reasoning, Text, Tool, ToolCall, ToolResult, Turn
from wirekey.features.translation.schemas import ANY_OBJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wirekey.features.translation.context import Context
    from wirekey.features.translation.format_rules import FormatRules
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.neutral import Block, Conversation, ModelMaker


def merged(turns: Iterable[Turn]) -> list[Turn]:
    """Return the turns with neighbours of the same role as one. Blocks are appended and never glued together."""
    found: list[Turn] = []
    for role, same in groupby(turns, key=attrgetter("role")):
        first, *others = same
        found.append(Turn(role, tuple(chain(first.blocks, *(turn.blocks for turn in others)))) if others else first)
    return found


def ordered(conversation: Conversation, to: FormatRules, issuer: ModelMaker, messages: str) -> list[Turn]:
    """Return the turns as Anthropic, Converse and Gemini demand them.

    Roles alternate, the results of calls come first in the order of the calls, and nothing is empty. Reasoning of
    another maker is left out. `messages` is the client's name of the turns. Raises Refusal where a turn would have to
    be made up.
    """
    turns = [Turn(turn.role, _kept(turn.blocks, to, issuer)) for turn in conversation.turns]
    turns = [turn for turn in turns if turn.blocks or turn.role == "user"]
    turns = merged(turns)
    if turns and turns[0].role == "assistant":
        raise cannot_translate(messages, "the first turn must be the user's")
    found: list[Turn] = []
    for index, turn in enumerate(turns):
        if turn.role == "user":
            if not turn.blocks:
                raise cannot_translate(messages, f"turn {index} of the user is empty")
            turn = Turn("user", _results_first(turn.blocks, found[-1] if found else None, messages))  # noqa: PLW2901
        found.append(turn)
    return found


def _kept(blocks: Sequence[Block], to: FormatRules, issuer: ModelMaker) -> tuple[Block, ...]:
    kept: list[Block] = []
    for block in blocks:
        if isinstance(block, Text):
            empty = not block.text or (not to.accepts_blank_text and block.text.isspace())
            attached = kept and isinstance(kept[-1], Reasoning) and kept[-1].attached == "text"
            if empty and not attached:
                continue
        elif isinstance(block, Reasoning) and not _is_wanted(block, to, issuer):
            continue
        kept.append(block)
    return tuple(kept)


def _is_wanted(block: Reasoning, to: FormatRules, issuer: ModelMaker) -> bool:
    return bool(block.state) and block.issuer is issuer and (not block.binary or to.binary_states)


def _results_first(blocks: Sequence[Block], before: Turn | None, messages: str) -> tuple[Block, ...]:
    results = {block.call: block for block in blocks if isinstance(block, ToolResult)}
    calls = [block.id for block in before.blocks if isinstance(block, ToolCall)] if before else []
    if not calls and not results:
        return tuple(blocks)
    missing = [call for call in calls if call not in results]
    if missing:
        raise cannot_translate(messages, f"{len(missing)} of {len(calls)} tool calls have no result")
    if len(results) != len(calls):
        raise cannot_translate(messages, "a tool result belongs to no call of the turn before it")
    rest = [block for block in blocks if not isinstance(block, ToolResult)]
    return (*(results[call] for call in calls), *rest)


def declared_tools(conversation: Conversation, context: Context) -> tuple[Tool, ...]:
    """Return the tools, or those that the history calls if none is declared: Claude and Converse demand them."""
    if conversation.tools:
        choice = conversation.choice
        if choice and choice.names and choice.mode != "one":
            context.adjust("choice")
            return tuple(tool for tool in conversation.tools if tool.name in choice.names)
        return conversation.tools
    names: dict[str, None] = {}
    for turn in conversation.turns:
        for block in turn.blocks:
            if isinstance(block, ToolCall):
                names[block.name] = None
    if names:
        context.adjust("tools")
    return tuple(Tool(found, schema=ANY_OBJECT) for found in names)


def call_names(turns: Iterable[Turn]) -> dict[str, str]:
    """Return the tool of each call in the history, by the id of the call."""
    return {block.id: block.name for turn in turns for block in turn.blocks if isinstance(block, ToolCall)}


def result_text(result: ToolResult) -> str:
    """Return the texts of a result as one text."""
    return "".join(block.text for block in result.content if isinstance(block, Text))


def arguments_object(call: ToolCall, losses: Losses, name: str) -> object:
    """Return the arguments of a call as a JSON object. Text that is no object is put into one, and reported."""
    text = object_text(call.arguments)
    if text is not None:
        return Raw(text.encode())
    losses.adjust(name)
    return raw_json({"arguments": call.arguments})
