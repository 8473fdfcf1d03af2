"""A session of a model with tools, as the user's message scripts it: what it calls and says, in any provider's format.

The message contains `simulated-session:` and a JSON array of steps, one for each turn of the model:

    simulated-session: [{"tool": "Write", "input": {"path": "a.txt", "content": "Hi"}}, {"text": "Done. {result}"}]

The number of the model's turns after that message says which step is next. Members of a step:

| member | meaning |
|---|---|
| `tool`, `input` | one call |
| `calls` | several calls at once, each with `tool` and `input`; `text` may stand beside them |
| `text` | the text of the turn |
| `json` | a structured response; the request must ask for one |
| `thought` | reasoning before it, if the request asks for reasoning |

A step with tools applies only to a request that offers them, because agents also ask for titles and summaries of the
same message. In a text, `{result}` stands for the last result of a tool, `{results}` for each result of the last turn
with the tool that it belongs to, and `{media}` for types and digests of the media in the request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wirekey_simulator import text
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.history import history, results, role_of, text_of, turns_of
from wirekey_simulator.members import objects

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "simulated-session:"


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn of the model: a thought, a text, and then the calls, each with its tool and arguments.

    `text` is None for a turn of calls alone.
    """

    text: str | None = None
    calls: tuple[tuple[str, Any], ...] = ()
    thought: str | None = None


def planned(body: Any, offered: Sequence[tuple[Any, Any]], *, structured: bool = False) -> Plan:
    """Return the next turn of the model. Without a script, it calls a tool if the last message asks for that.

    `offered` are the tools with the JSON schema of their arguments; `structured` is True if the request asks for a
    response of some form. Raises BadRequest if the script has a structured response and the request does not.
    """
    step = next_step(body)
    if step is None:
        call = _usual_call(body, offered)
        return Plan(None, (call,)) if call else Plan(text.TEXT)
    thought = step.get("thought") if isinstance(step.get("thought"), str) else None
    calls = _calls(step)
    names = [name for name, _ in offered]
    if calls and all(name in names for name, _ in calls):
        said = step.get("text")
        return Plan(_filled(said, body) if isinstance(said, str) else None, calls, thought)
    if "json" in step:
        if not structured:
            raise BadRequest("The simulated session has a structured response here, and the request asks for none.")
        return Plan(json.dumps(step["json"], ensure_ascii=False, separators=(",", ":")), (), thought)
    said = step.get("text")
    return Plan(_filled(said, body) if isinstance(said, str) and not calls else text.TEXT, (), thought)


def next_step(body: Any) -> dict[str, Any] | None:
    """Return the step that comes next, or None if the request scripts no session, or one that has ended.

    A text as the last step is repeated, as some agents ask again.
    """
    turns = turns_of(body)
    for index, turn in enumerate(turns):
        if role_of(turn) == "user" and (found := _script_in(turn)) is not None:
            roles = [role for role in map(role_of, turns[index:]) if role != "system"]
            done = sum(role == "assistant" != before for before, role in pairwise(roles))
            if done < len(found):
                return found[done]
            return found[-1] if found and not _calls(found[-1]) and "tool" not in found[-1] else None
    return None


def last_result(body: Any) -> str:
    """Return the text of the last result of a tool, or of the last message."""
    turns = turns_of(body)
    return text_of(turns[-1]).strip() if turns else ""


def _usual_call(body: Any, offered: Sequence[tuple[Any, Any]]) -> tuple[str, Any] | None:
    if not offered or not text.wants_tool_call(body):
        return None
    name, schema = offered[0]
    return name, text.tool_arguments(schema)


def _calls(step: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    calls = objects(step["calls"]) if "calls" in step else [step]
    return tuple((call["tool"], call.get("input", {})) for call in calls if isinstance(call.get("tool"), str))


def _filled(said: str, body: Any) -> str:
    if "{" not in said:
        return said
    turns = history(body)
    named = "; ".join(f"{name}={found}" for name, found in results(turns))
    media = "; ".join(item.text for turn in turns for item in turn.items if item.kind == "media")
    return said.replace("{results}", named).replace("{media}", media).replace("{result}", last_result(body))


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
