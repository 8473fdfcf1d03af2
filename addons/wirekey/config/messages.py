"""Messages for the errors that pydantic finds. They say what to do, and never contain a value from the file."""

from __future__ import annotations

import difflib
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wirekey.config.group import settings_of
from wirekey.config.secrets import looks_like_key
from wirekey.feature_registry import missing_feature_of, needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import ErrorDetails

    from wirekey.config.problems import Problem
    from wirekey.config.sources import ConfigSources

PYDANTIC_MESSAGES = {
    "missing": "is missing. Add it",
    "bool_type": "must be true or false. yes, no, on, off and quoted values are strings",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number of seconds",
    "finite_number": "must be a number of seconds",
    "string_type": "must be a string. Put numbers, true and false in quotes",
    "string_too_short": "is empty. Set a value or remove it",
    "path_type": "must be a path",
    "byte_size": "must be a size, such as 64MiB",
    "byte_size_unit": "must be a size, such as 64MiB",
    "tuple_type": "must be a list, such as [first, second]",
    "too_short": "is empty. Add at least one entry, or remove it",
    "model_type": "must be a group of settings, not a single value",
    "model_attributes_type": "must be a group of settings, not a single value",
    "invalid_key": "the name of a setting must be a string. Put it in quotes",
    "recursion_loop": "refers to itself. Write the value instead of an alias",
}


def problems_from_pydantic(
    details: Sequence[ErrorDetails], root: type[BaseModel], sources: ConfigSources
) -> list[Problem]:
    """Return a problem for each error that pydantic found.

    For a list with invalid items, pydantic also reports that it is empty. That error is left out.
    """
    places = [detail["loc"] for detail in details]
    return [
        problem_from_pydantic(detail, root, sources)
        for detail in details
        if detail["type"] != "too_short" or not any(place[:-1] == detail["loc"] for place in places)
    ]


def problem_from_pydantic(detail: ErrorDetails, root: type[BaseModel], sources: ConfigSources) -> Problem:
    """Return the problem for one error, with its setting and line."""
    place = list(detail["loc"])
    if detail["type"] == "invalid_key":
        place[-1] = str(place[-1])
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{redact_key(part)}" for part in place).lstrip(".")
    return sources.problem(key, pydantic_message(detail, place, root))


def redact_key(name: str) -> str:
    """Return the name of a setting, or `…` if it looks like a secret."""
    return "…" if looks_like_key(name) else name


def pydantic_message(detail: ErrorDetails, place: list[int | str], root: type[BaseModel]) -> str:
    """Return the message for an error at `place`, the parts of the setting's path."""
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected'].replace("'", '')}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}"
    if kind in ("greater_than", "less_than_equal"):
        return "must be larger than 0" if kind == "greater_than" else f"must be at most {context['le']:g}"
    if kind == "extra_forbidden":
        return unknown(str(place[-1]), place[:-1], root)
    if detail["input"] is None and kind.endswith("_type"):
        return "has no value. Set one or remove it"
    return PYDANTIC_MESSAGES.get(kind, "is not a valid value")


def unknown(name: str, above: list[int | str], root: type[BaseModel]) -> str:
    """Return the message for an unknown setting: the feature that is missing, or the most similar known setting."""
    settings = list(all_settings(root))
    group = ".".join(part for part in above if isinstance(part, str))
    if feature := missing_feature_of(f"{group}.{name}".lstrip(".")):
        return f"{needs(feature)}. Install Wirekey with it, or remove the setting"
    siblings = [inner for outer, inner in settings if outer == group]
    spelled = name.lower() if any("-" in sibling for sibling in siblings) else name.lower().replace("-", "_")
    if close := difflib.get_close_matches(spelled, siblings, n=1):
        return f"is not a setting. Did you mean {close[0]}?"
    elsewhere = [f"{outer}.{inner}".lstrip(".") for outer, inner in settings if inner == name]
    if elsewhere:
        return f"is not a setting here. Did you mean {min(elsewhere, key=lambda found: found.count('.'))}?"
    return f"is not a setting. The settings here are: {', '.join(siblings)}"


def all_settings(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield (group, name) of each setting below `model`."""
    for name, _, field in settings_of(model):
        yield above, name
        for inner in groups_in(field.annotation):
            yield from all_settings(inner, f"{above}.{name}".lstrip("."))


def groups_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the groups of settings that a field can have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from groups_in(part)
