"""Orders the turns of a conversation as an upstream accepts them."""

from __future__ import annotations

from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.members import object_text, raw_json
from wirekey.features.translation.schemas import ANY_OBJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wirekey.features.translation.context import Context
    from wirekey.features.translation.format_rules import FormatRules
    from wirekey.features.translation.losses import Losses


def merged(turns: Iterable[n.Turn]) -> list[n.Turn]:
    """Return the turns with neighbours of the same role as one. Blocks are appended and never glued together."""
    found: list[n.Turn] = []
    for role, same in groupby(turns, key=attrgetter("role")):
        first, *others = same
        found.append(n.Turn(role, tuple(chain(first.blocks, *(turn.blocks for turn in others)))) if others else first)
    return found


def ordered(conversation: n.Conversation, to: FormatRules, issuer: n.ModelMaker, messages: str) -> list[n.Turn]:
    """Return the turns as Anthropic, Converse and Gemini demand them.

    Roles alternate, the results of calls come first in the order of the calls, and nothing is empty. Reasoning of
    another maker is left out. `messages` is the client's name of the turns. Raises Refusal where a turn would have to
    be made up.
    """
    turns = [n.Turn(turn.role, _kept(turn.blocks, to, issuer)) for turn in conversation.turns]
    turns = [turn for turn in turns if turn.blocks or turn.role == "user"]
    turns = merged(turns)
    if turns and turns[0].role == "assistant":
        raise cannot_translate(messages, "the first turn must be the user's")
    found: list[n.Turn] = []
    for index, turn in enumerate(turns):
        if turn.role == "user":
            if not turn.blocks:
                raise cannot_translate(messages, f"turn {index} of the user is empty")
            turn = n.Turn("user", _results_first(turn.blocks, found[-1] if found else None, messages))  # noqa: PLW2901
        found.append(turn)
    return found


def _kept(blocks: Sequence[n.Block], to: FormatRules, issuer: n.ModelMaker) -> tuple[n.Block, ...]:
    kept: list[n.Block] = []
    for block in blocks:
        if isinstance(block, n.Text):
            empty = not block.text or (not to.accepts_blank_text and block.text.isspace())
            attached = kept and isinstance(kept[-1], n.Reasoning) and kept[-1].attached == "text"
            if empty and not attached:
                continue
        elif isinstance(block, n.Reasoning) and not _is_wanted(block, to, issuer):
            continue
        kept.append(block)
    return tuple(kept)


def _is_wanted(block: n.Reasoning, to: FormatRules, issuer: n.ModelMaker) -> bool:
    return bool(block.state) and block.issuer is issuer and (not block.binary or to.binary_states)


def _results_first(blocks: Sequence[n.Block], before: n.Turn | None, messages: str) -> tuple[n.Block, ...]:
    results = {block.call: block for block in blocks if isinstance(block, n.ToolResult)}
    calls = [block.id for block in before.blocks if isinstance(block, n.ToolCall)] if before else []
    if not calls and not results:
        return tuple(blocks)
    missing = [call for call in calls if call not in results]
    if missing:
        raise cannot_translate(messages, f"{len(missing)} of {len(calls)} tool calls have no result")
    if len(results) != len(calls):
        raise cannot_translate(messages, "a tool result belongs to no call of the turn before it")
    rest = [block for block in blocks if not isinstance(block, n.ToolResult)]
    return (*(results[call] for call in calls), *rest)


def declared_tools(conversation: n.Conversation, context: Context) -> tuple[n.Tool, ...]:
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
            if isinstance(block, n.ToolCall):
                names[block.name] = None
    if names:
        context.adjust("tools")
    return tuple(n.Tool(found, schema=ANY_OBJECT) for found in names)


def call_names(turns: Iterable[n.Turn]) -> dict[str, str]:
    """Return the tool of each call in the history, by the id of the call."""
    return {block.id: block.name for turn in turns for block in turn.blocks if isinstance(block, n.ToolCall)}


def result_text(result: n.ToolResult) -> str:
    """Return the texts of a result as one text."""
    return "".join(block.text for block in result.content if isinstance(block, n.Text))


def arguments_object(call: n.ToolCall, losses: Losses, name: str) -> object:
    """Return the arguments of a call as a JSON object. Text that is no object is put into one, and reported."""
    text = object_text(call.arguments)
    if text is not None:
        return Raw(text.encode())
    losses.adjust(name)
    return raw_json({"arguments": call.arguments})
