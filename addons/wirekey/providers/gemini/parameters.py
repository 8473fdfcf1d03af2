"""The places of a model string's parameters in a request in Gemini's format.

https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.request_json import one_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.providers.json_edits import EditableObject, Members

OUTPUT_LIMIT = "max_output_tokens"
_SNAKE = re.compile(r"_([a-z])")
_KNOWS_BUDGETS = re.compile(r"gemini-[12]\b")
"""Models whose reasoning is set by a budget of tokens. Later ones have levels."""
BUDGETS: Mapping[bytes, bytes] = MappingProxyType(
    {b'"none"': b"0", b'"minimal"': b"512", b'"low"': b"512", b'"medium"': b"2048", b'"high"': b"-1", b'"xhigh"': b"-1"}
)
"""Effort → budget of tokens; -1 is unlimited."""
LEVELS: Mapping[bytes, bytes] = MappingProxyType({b'"none"': b'"minimal"', b'"xhigh"': b'"high"'})
"""Effort → level, where the words differ."""


def camel(snake: str) -> str:
    """Return a name in camel case."""
    return _SNAKE.sub(lambda found: found[1].upper(), snake)


def set_parameters(body: EditableObject, parameters: Mapping[str, bytes], model: str) -> None:
    """Set parameters, each in the spelling that the request uses already.

    Of effort and budget, which exclude each other, the body keeps neither if the name has one. A budget in the name
    comes before an effort in the name.
    """
    wanted = dict(parameters)
    effort = wanted.pop("reasoning_effort", None)
    thinking: dict[str, bytes] = {}
    if (budget := wanted.pop("thinking_budget", None)) is not None:
        thinking = {"thinking_budget": budget}
    elif effort is not None and _KNOWS_BUDGETS.match(model):
        thinking = {"thinking_budget": BUDGETS[effort]}
    elif effort is not None:
        thinking = {"thinking_level": LEVELS.get(effort, effort)}
    group = one_of(body.members, "generationConfig", "generation_config")
    inner = body.child(group)
    members: dict[str, bytes | Members] = {
        _spelling(inner, OUTPUT_LIMIT if name == "max_tokens" else name): value for name, value in wanted.items()
    }
    if thinking:
        key = _spelling(inner, "thinking_config")
        config = inner.child(key) if inner else None
        _remove_other(config, thinking)
        members[key] = {_spelling(config, name): value for name, value in thinking.items()}
    body.set({group: members})


def _remove_other(config: EditableObject | None, thinking: Mapping[str, bytes]) -> None:
    """Remove the level if a budget is set, and the budget if a level is set: Google refuses both together."""
    other = "thinking_level" if "thinking_budget" in thinking else "thinking_budget"
    for name in (other, camel(other)):
        if config is not None and name in config.members.values:
            config.remove(name)


def _spelling(parent: EditableObject | None, snake: str) -> str:
    """Return the spelling of a member that an object uses; camel case if it has no such member."""
    written = camel(snake)
    return one_of(parent.members, written, snake) if parent and written != snake else written
