"""Settings from the environment: `WIREKEY_LISTEN__GATEWAY=0.0.0.0:8000` sets `listen.gateway`.

Every setting with a single value can be set so. It takes precedence over the file. Lists are set in the file.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wirekey.config.group import settings_of
from wirekey.config.messages import groups_in, unknown
from wirekey.config.problems import Problem
from wirekey.config.values import ValueFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

PREFIX = "WIREKEY_"
SEPARATOR = "__"


def with_environment(
    data: Any, environ: Mapping[str, str], root: type[BaseModel]
) -> tuple[Any, dict[str, str], list[Problem]]:
    """Return the data of the file with the settings of the environment, where each came from, and problems.

    A variable without `__` that is not the name of a setting belongs to a different program, and is ignored.
    """
    if not isinstance(data, dict):
        return data, {}, []
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or not environ[variable].strip():
            continue
        names = variable.removeprefix(PREFIX).lower().split(SEPARATOR)
        if len(names) == 1 and names[0] not in root.model_fields:
            continue
        names = names_in_file(names, root)
        key = ".".join(names)
        if message := wrong_setting(names, root):
            problems.append(Problem(None, None, variable, message))
            continue
        found[key] = variable
        data = with_value(data, names, scalar(environ[variable]))
    return data, found, problems


def wrong_setting(names: list[str], root: type[BaseModel]) -> str | None:
    """Return why these names, from the outermost group on, are not a setting with a single value; None if they are."""
    models: list[type[BaseModel]] = [root]
    field = None
    for place, name in enumerate(names):
        field = setting_in(models, name)
        if field is None:
            return unknown(name, list(names[:place]), root)
        models = list(groups_in(field.annotation))
        if is_list(field.annotation):
            return "is a list. Set it in the configuration file"
    # A group with a text of its own for its values can also be set by a single one.
    has_value = field is not None and any(isinstance(part, ValueFormat) for part in field.metadata)
    return "is a group of settings. Name one of them" if models and not has_value else None


def names_in_file(names: list[str], root: type[BaseModel]) -> list[str]:
    """Return names as the file has them: some have hyphens there, which no variable can have."""
    models: list[type[BaseModel]] = [root]
    found = []
    for name in names:
        hyphened = name.replace("_", "-")
        name_in_file = hyphened if setting_in(models, name) is None and setting_in(models, hyphened) else name
        field = setting_in(models, name_in_file)
        models = list(groups_in(field.annotation)) if field else []
        found.append(name_in_file)
    return found


def setting_in(models: list[type[BaseModel]], name: str) -> FieldInfo | None:
    """Return the setting of a name in the first of these groups that has it, or None."""
    return next((field for model in models for other, _, field in settings_of(model) if other == name), None)


def is_list(annotation: Any) -> bool:
    """Return whether a setting has several values."""
    return any(typing.get_origin(part) is tuple for part in (annotation, *typing.get_args(annotation)))


def scalar(text: str) -> Any:
    """Return the value of a text as in YAML: a number, true, false, null, or the text itself."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text.strip()


def with_value(data: dict[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    """Return data with a value under nested names. A group that the file has as something else stays, to be refused."""
    first, *rest = names
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    if inner is None:
        inner = {}
    return {**data, first: with_value(inner, rest, value)} if isinstance(inner, dict) else data
