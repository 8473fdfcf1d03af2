"""A session of an agent with tools, as the user's message scripts it: which tool the model calls, and what it says.

The message contains `simulated-session:` and a JSON array of steps, one for each response of the model:

    simulated-session: [{"tool": "Write", "input": {"path": "a.txt", "content": "Hi"}}, {"text": "Done. {result}"}]

The number of the model's turns after that message says which step is next. A step with a tool applies only to a request
that offers this tool, because agents also ask for titles and summaries of the same message. `{result}` in a text stands
for the last result of a tool.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wirekey_simulator import text
from wirekey_simulator.members import child, objects

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "simulated-session:"
TURNS = ("messages", "contents", "input")
ASSISTANTS = ("assistant", "model")
OWN_ITEMS = ("function_call", "custom_tool_call", "local_shell_call")
"""Items of OpenAI's Responses that the model made and that have no role."""
RESULT_KEYS = ("output", "content", "response", "text", "llmContent", "result", "json")


def tool_call(body: Any, offered: Sequence[tuple[Any, Any]]) -> tuple[str, Any] | None:
    """Return the tool to call and its arguments, or None if the model responds with text.

    `offered` are the tools with the JSON schema of their arguments. Without a script, the first tool is called if the
    last message asks for that.
    """
    if not offered:
        return None
    step = next_step(body)
    if step is not None:
        return (step["tool"], step.get("input", {})) if any(step.get("tool") == name for name, _ in offered) else None
    if text.wants_tool_call(body):
        name, schema = offered[0]
        return name, text.tool_arguments(schema)
    return None


def scripted_text(body: Any) -> str:
    """Return the text of the next step, or the usual text."""
    step = next_step(body) or {}
    said = step.get("text")
    return said.replace("{result}", last_result(body)) if isinstance(said, str) else text.TEXT


def next_step(body: Any) -> dict[str, Any] | None:
    """Return the step that comes next, or None if the request scripts no session, or one that has ended.

    A text as the last step is repeated, as some agents ask again.
    """
    turns = _turns(body)
    for index, turn in enumerate(turns):
        if turn.get("role") == "user" and (found := _script_in(turn)) is not None:
            done = sum(_is_of_model(later) for later in turns[index + 1 :])
            if done < len(found):
                return found[done]
            return found[-1] if found and "tool" not in found[-1] else None
    return None


def last_result(body: Any) -> str:
    """Return the text of the last result of a tool, or of the last message."""
    turns = _turns(body)
    return _text_of(turns[-1]).strip() if turns else ""


def _turns(body: Any) -> list[dict[str, Any]]:
    return next((objects(child(body, name)) for name in TURNS if isinstance(child(body, name), list)), [])


def _is_of_model(turn: dict[str, Any]) -> bool:
    return turn.get("role") in ASSISTANTS or turn.get("type") in OWN_ITEMS


def _script_in(turn: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the steps in the text of a turn. Texts inside results of tools do not count."""
    content = turn.get("content", turn.get("parts"))
    parts = [content] if isinstance(content, str) else [part.get("text") for part in objects(content)]
    for part in parts:
        if isinstance(part, str) and MARK in part:
            try:
                # opencode quotes a message.
                said = json.loads(part) if part.startswith('"') else part
                steps, _ = json.JSONDecoder().raw_decode(said.partition(MARK)[2].lstrip())
            except ValueError:
                continue
            return objects(steps)
    return None


def _text_of(value: Any) -> str:
    """Return the text in a turn or a result. Each provider and agent nests it differently."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_of, value))
    if isinstance(value, dict):
        if "parts" in value:
            return _text_of(value["parts"])
        for wrapped in ("functionResponse", "function_response", "toolResult"):
            if wrapped in value:
                return _text_of(value[wrapped])
        return next((_text_of(value[key]) for key in RESULT_KEYS if key in value), "")
    return ""
