"""How much a model reasons: by a word, by a level or by a budget of tokens, and from each to the others.

The budgets are those of Google's own table for its OpenAI-compatible endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.models import Traits

MIN_BUDGET = 1024
_CLAUDE_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
_GEMINI_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_GEMINI_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_LESS_THAN = {"minimal": frozenset({"none"}), "low": frozenset({"none", "minimal"})}
PRO_LEAST_BUDGET, PRO_GREATEST_BUDGET = 128, 32768


def effort_of(thinking: n.Thinking) -> str | None:
    """Return the word for how much to reason, or None if the model shall choose."""
    if thinking.effort is not None:
        return thinking.effort
    if thinking.budget is None or thinking.budget < 0:
        return None
    if thinking.budget == 0:
        return "none"
    if thinking.budget <= 2048:
        return "low"
    return "medium" if thinking.budget <= 12288 else "high"


def claude_budget(thinking: n.Thinking, max_tokens: int, adjust: Callable[[], None]) -> int | None:
    """Return the budget for Claude, below the limit of the response, or None for no thinking."""
    wanted = thinking.budget
    if wanted is None or wanted < 0:
        effort = thinking.effort or "medium"
        if effort == "none":
            return None
        wanted = _CLAUDE_BUDGETS.get(effort, _CLAUDE_BUDGETS["medium"])
        if effort == "minimal" or effort not in _CLAUDE_BUDGETS:
            adjust()
    elif wanted == 0:
        return None
    elif wanted < MIN_BUDGET:
        wanted = MIN_BUDGET
        adjust()
    if wanted >= max_tokens:
        wanted = max_tokens - 1
        adjust()
    return wanted if wanted >= MIN_BUDGET else None


def claude_effort(thinking: n.Thinking, adjust: Callable[[], None]) -> str | None:
    """Return the effort for a Claude that thinks adaptively; None is its own choice, and `none` is no thinking."""
    effort = effort_of(thinking)
    if effort == "minimal":
        adjust()
        return "low"
    if effort is not None and thinking.effort is None:
        adjust()
    return effort


def gemini_thinking(thinking: n.Thinking, traits: Traits, adjust: Callable[[], None]) -> dict[str, object]:
    """Return the members of `thinkingConfig` for a model of Gemini."""
    found: dict[str, object] = {}
    effort = effort_of(thinking)
    if traits.thinking == "level":
        if effort is not None:
            level = _GEMINI_LEVELS.get(effort, "high")
            if effort == "none":
                level = "minimal"
            if traits.pro and level in {"minimal", "medium"}:
                level = {"minimal": "low", "medium": "high"}[level]
            if level != effort or thinking.effort is None:
                adjust()
            found["thinkingLevel"] = level
    elif traits.thinking == "budget":
        budget = thinking.budget if thinking.budget is not None else _budget_of(effort, traits)
        if budget is not None:
            if traits.pro and 0 <= budget < PRO_LEAST_BUDGET:
                budget = PRO_LEAST_BUDGET
                adjust()
            found["thinkingBudget"] = budget
        elif effort is not None:
            adjust()
    if thinking.show and found.get("thinkingBudget") != 0:
        found["includeThoughts"] = True
    return found


def _budget_of(effort: str | None, traits: Traits) -> int | None:
    if effort is None:
        return None
    if effort == "none":
        return 0
    if traits.pro and effort in {"xhigh", "max"}:
        return PRO_GREATEST_BUDGET
    return _GEMINI_BUDGETS.get(effort)


def openai_effort(thinking: n.Thinking, traits: Traits, adjust: Callable[[], None]) -> str | None:
    """Return the `reasoning_effort` for a model of OpenAI, or None for the model's own choice."""
    effort = effort_of(thinking)
    if effort in _LESS_THAN.get(traits.least_effort, ()):
        adjust()
        return traits.least_effort
    if effort == "max":
        adjust()
        return "xhigh"
    if effort is not None and thinking.effort is None:
        adjust()
    return effort
