"""What pydantic found, in sentences that say what to do; a value from the file is never repeated."""

from __future__ import annotations

import difflib
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wirekey.config.secrets import looks_like_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import ErrorDetails

    from wirekey.config.problems import Problem
    from wirekey.config.sources import Sources

SENTENCES = {
    "missing": "is needed here; add it",
    "bool_type": "must be true or false; yes, no, on and off are texts, as is what stands in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number of seconds",
    "finite_number": "must be a number of seconds",
    "string_type": "must be a text; put numbers and true or false into quotes",
    "string_too_short": "is empty; give it a value or remove it",
    "path_type": "must be a path",
    "byte_size": "must be a size, such as 64MiB",
    "byte_size_unit": "must be a size, such as 64MiB",
    "tuple_type": "must be a list, such as [first, second]",
    "too_short": "is empty; give at least one, or remove it",
    "model_type": "must be a group of settings, not a single value",
    "model_attributes_type": "must be a group of settings, not a single value",
    "invalid_key": "the name of a setting must be a text; put it into quotes",
    "recursion_loop": "refers to itself. Write it out",
}


def problems_of(details: Sequence[ErrorDetails], root: type[BaseModel], sources: Sources) -> list[Problem]:
    """Phrase pydantic's error details. A list whose items are wrong is not called empty for it."""
    places = [detail["loc"] for detail in details]
    return [
        problem_of(detail, root, sources)
        for detail in details
        if detail["type"] != "too_short" or not any(place[:-1] == detail["loc"] for place in places)
    ]


def problem_of(detail: ErrorDetails, root: type[BaseModel], sources: Sources) -> Problem:
    """Phrase one of them, with the setting that it is about and its line."""
    place = list(detail["loc"])
    if detail["type"] == "invalid_key":
        place[-1] = str(place[-1])
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{safe(part)}" for part in place).lstrip(".")
    return sources.problem(key, message_of(detail, place, root))


def safe(name: str) -> str:
    return "…" if looks_like_key(name) else name


def message_of(detail: ErrorDetails, place: list[int | str], root: type[BaseModel]) -> str:
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
        return "has no value; give it one or remove it"
    return SENTENCES.get(kind, "is not a value that this setting can have")


def unknown(name: str, above: list[int | str], root: type[BaseModel]) -> str:
    """Say that there is no such setting, and which may be meant: a sibling, or one that lives elsewhere."""
    settings = list(all_settings(root))
    group = ".".join(part for part in above if isinstance(part, str))
    siblings = [inner for outer, inner in settings if outer == group]
    if close := difflib.get_close_matches(name.lower().replace("-", "_"), siblings, n=1):
        return f"is not a setting. Did you mean {close[0]}?"
    elsewhere = [f"{outer}.{inner}".lstrip(".") for outer, inner in settings if inner == name]
    if elsewhere:
        return f"is not a setting here. Did you mean {min(elsewhere, key=lambda found: found.count('.'))}?"
    return f"is not a setting. There are: {', '.join(siblings)}"


def all_settings(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """Give (group, name) for each setting below `model`."""
    for name, field in model.model_fields.items():
        yield above, name
        for inner in models_in(field.annotation):
            yield from all_settings(inner, f"{above}.{name}".lstrip("."))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the groups of settings that a field can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from models_in(part)
