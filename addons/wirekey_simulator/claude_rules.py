"""The rules of Claude for a whole conversation, with Anthropic's error messages. InvokeModel has the same rules.

https://docs.claude.com/en/api/messages, /en/docs/build-with-claude/extended-thinking and .../tool-use.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, rules
from wirekey_simulator.members import child, objects
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.exchange import Json

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
MAX_CACHE_MARKS = 4
MIN_BUDGET = 1024
THINKING = ("thinking", "redacted_thinking")
FORCED = ("any", "tool")


@rules
def check_claude(body: Json) -> None:
    """Check everything between the members of a request. Raises BadRequest in the provider's words."""
    messages = objects(body.get("messages"))
    turns = [(str(message.get("role")), _blocks(message)) for message in messages]
    if turns and turns[0][0] == "assistant":
        raise BadRequest('messages: first message must use the "user" role')
    for index, (role, blocks) in enumerate(turns):
        last = index == len(turns) - 1
        if not blocks and not (last and role == "assistant"):
            raise BadRequest(f"messages.{index}: all messages must have non-empty content")
        for number, block in enumerate(blocks):
            _check_block(block, f"messages.{index}.content.{number}")
        if last and role == "assistant" and blocks and str(blocks[-1].get("text", "")) != _trimmed(blocks[-1]):
            raise BadRequest("messages: final assistant content cannot end with trailing whitespace")
    _check_calls(turns)
    _check_tools(body, turns)
    _check_numbers(body)
    check_thinking(
        body.get("thinking"),
        body.get("max_tokens"),
        child(body, "tool_choice", "type") in FORCED,
        {name: body[name] for name in ("temperature", "top_k") if name in body},
    )
    if child(body, "thinking", "type") == "enabled":
        check_thinking_comes_first([(role, [block.get("type") for block in blocks]) for role, blocks in turns])
    marks = sum("cache_control" in block and block["cache_control"] is not None for block in _cacheable(body, turns))
    if marks > MAX_CACHE_MARKS:
        raise BadRequest(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def check_thinking(thinking: Any, max_tokens: Any, forced: bool, sampling: Json) -> None:
    """Check the `thinking` member against the members that it does not go with."""
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive"):
        return
    if thinking["type"] == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise BadRequest("thinking.enabled.budget_tokens: Field required")
        if budget < MIN_BUDGET:
            raise BadRequest("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if isinstance(max_tokens, int) and budget >= max_tokens:
            raise BadRequest("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if forced:
        raise BadRequest("Thinking may not be enabled when tool_choice forces tool use.")
    if sampling.get("temperature", 1) != 1:
        raise BadRequest("`temperature` may only be set to 1 when thinking is enabled.")
    if "top_k" in sampling:
        raise BadRequest("`top_k` must be unset when thinking is enabled.")


def check_thinking_comes_first(turns: list[tuple[str, list[Any]]]) -> None:
    """Check that the last assistant turn begins with reasoning if it has calls. `turns` has the kinds of blocks."""
    for index in range(len(turns) - 1, -1, -1):
        role, kinds = turns[index]
        if role == "assistant":
            if {"tool_use", "toolUse"} & set(kinds) and kinds[0] not in (*THINKING, "reasoningContent"):
                raise BadRequest(
                    f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                    f"`{kinds[0]}`. When `thinking` is enabled, a final `assistant` message must start with a thinking "
                    "block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
                )
            return


def check_signature(text: Any, given: Any, place: str) -> None:
    """Check that a thought has the signature that was issued for it."""
    if not given:
        raise BadRequest(f"{place}.signature: Field required")
    if given != signature("claude", text):
        raise BadRequest(f"{place}: Invalid `signature` in `thinking` block")


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)


def _trimmed(block: Json) -> str:
    return str(block.get("text", "")).rstrip()


def _check_block(block: Json, place: str) -> None:
    match block.get("type"):
        case "text":
            if not isinstance(block.get("text"), str):
                raise BadRequest(f"{place}.text.text: Field required")
            if not block["text"]:
                raise BadRequest("messages: text content blocks must be non-empty")
            if not block["text"].strip():
                raise BadRequest("messages: text content blocks must contain non-whitespace text")
        case "image" | "document":
            _check_source(block, place)
        case "tool_use":
            if not isinstance(block.get("input"), dict):
                raise BadRequest(f"{place}.tool_use.input: Input should be a valid dictionary")
            if not TOOL_ID.fullmatch(str(block.get("id", ""))):
                raise BadRequest(f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if not TOOL_NAME.fullmatch(str(block.get("name", ""))):
                raise BadRequest(f"{place}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        case "tool_result":
            if not TOOL_ID.fullmatch(str(block.get("tool_use_id", ""))):
                raise BadRequest(f"{place}.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            for number, inner in enumerate(objects(block.get("content"))):
                _check_block(inner, f"{place}.tool_result.content.{number}")
        case "thinking":
            check_signature(block.get("thinking"), block.get("signature"), place)


def _check_source(block: Json, place: str) -> None:
    source = block.get("source")
    kind = child(source, "type")
    if not isinstance(source, dict) or kind is None:
        raise BadRequest(f"{place}.{block['type']}.source: Field required")
    if kind != "base64":
        return
    if block["type"] == "image" and source.get("media_type") not in IMAGES:
        raise BadRequest(
            f"{place}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or "
            "'image/webp'"
        )
    try:
        b64decode(source.get("data") or "!", validate=True)
    except (TypeError, ValueError):
        raise BadRequest(f"{place}.{block['type']}.source.base64: The data is not valid base64.") from None


def _check_calls(turns: list[tuple[str, list[Json]]]) -> None:
    """Check that the results of each turn's calls are in the next turn, before anything else."""
    seen: set[str] = set()
    open_calls: list[str] = []
    for index, (role, blocks) in enumerate(_merged(turns)):
        results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
        for result in results:
            if result not in open_calls:
                raise BadRequest(
                    f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {result}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        first = [block.get("tool_use_id") for block in blocks[: len(open_calls)]]
        missing = [call for call in open_calls if call not in first]
        if missing:
            raise BadRequest(
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        open_calls = [str(block["id"]) for block in blocks if block.get("type") == "tool_use"]
        if role == "user" and open_calls:
            raise BadRequest(f"messages.{index}: `tool_use` blocks can only be in `assistant` messages")
        if seen & set(open_calls) or len(set(open_calls)) < len(open_calls):
            raise BadRequest("messages: `tool_use` ids must be unique")
        seen |= set(open_calls)


def _merged(turns: list[tuple[str, list[Json]]]) -> list[tuple[str, list[Json]]]:
    found: list[tuple[str, list[Json]]] = []
    for role, blocks in turns:
        if role == "system":
            continue
        if found and found[-1][0] == role:
            found[-1] = (role, found[-1][1] + blocks)
        else:
            found.append((role, blocks))
    return found


def _check_tools(body: Json, turns: list[tuple[str, list[Json]]]) -> None:
    tools = objects(body.get("tools"))
    names = [tool.get("name") for tool in tools]
    if len(set(names)) < len(names):
        raise BadRequest("tools: Tool names must be unique.")
    for index, tool in enumerate(tools):
        if "input_schema" in tool and child(tool["input_schema"], "type") != "object":
            raise BadRequest(f"tools.{index}.custom.input_schema.type: Field required")
        if tool.get("type", "custom") == "custom" and not TOOL_NAME.fullmatch(str(tool.get("name", ""))):
            raise BadRequest(f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not tools and body.get("tool_choice"):
        raise BadRequest("tool_choice may only be specified while providing tools")
    chosen = child(body, "tool_choice", "name")
    if chosen is not None and chosen not in names:
        raise BadRequest(f"tool_choice.tool: Tool '{chosen}' not found in provided tools")
    if not tools and any(block.get("type") in ("tool_use", "tool_result") for _, blocks in turns for block in blocks):
        raise BadRequest("Requests which have `tool_use` or `tool_result` blocks in messages must define tools.")


def _check_numbers(body: Json) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if isinstance(value, int | float) and not 0 <= value <= 1:
            raise BadRequest(f"{name}: range: 0..1", field=name)
    for value in body.get("stop_sequences") or ():
        if not isinstance(value, str) or not value.strip():
            raise BadRequest("stop_sequences: each stop sequence must contain non-whitespace")


def _cacheable(body: Json, turns: list[tuple[str, list[Json]]]) -> Iterator[Json]:
    yield from objects(body.get("tools"))
    yield from objects(body.get("system"))
    for _, blocks in turns:
        yield from blocks
