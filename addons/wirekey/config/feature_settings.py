"""The configuration with the settings that features add to it."""

from __future__ import annotations

import typing
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, create_model

from wirekey.config.models import Config
from wirekey.feature import FeatureValues
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wirekey.config.group import ConfigGroup
    from wirekey.config.routes import RouteConfig

TOP = ""
"""The place of the settings that are in no group."""
ROUTES = "routes"
"""The place of the settings of each route."""
IDENTITY_LABELS = "identity.labels"
"""The place of the settings of labels."""


def no_names(_: Any) -> tuple[str, ...]:
    """Return the providers that most settings make: none."""
    return ()


@dataclass(frozen=True, slots=True)
class AddedSettings:
    """The part of a feature with its settings: place → a group whose settings are added to the group there.

    A place is TOP, the name of a group or a list of groups, such as ROUTES, or its path, such as IDENTITY_LABELS.
    `fixed_at_start`: settings at the top that take effect only at a restart. `provider_names` returns the names of the
    providers that data makes which is not checked yet.
    """

    groups: Mapping[str, type[ConfigGroup]]
    fixed_at_start: tuple[str, ...] = ()
    provider_names: Callable[[Any], Iterable[str]] = no_names


def added_at(place: str) -> list[type[ConfigGroup]]:
    """Return the groups that features add at one place."""
    return [part.groups[place] for part in parts(AddedSettings) if place in part.groups]


@cache
def whole_config() -> type[Config]:
    """Return the class of the whole configuration: that of the core, with the settings of the installed features."""
    named = [place for part in parts(AddedSettings) for place in part.groups if place != TOP]
    places = dict.fromkeys(place.partition(".")[0] for place in named)
    fields = {place: whole_field(Config, place) for place in places}
    whole = extended(Config, added_at(TOP), **fields)
    assert issubclass(whole, Config)
    return whole


def whole_field(group: type[ConfigGroup], place: str) -> tuple[Any, Any]:
    """Return a field of a group, as (annotation, field), with the settings that are added at its place."""
    field = group.model_fields[place.rpartition(".")[2]]
    is_list = typing.get_origin(field.annotation) is tuple
    inner = typing.get_args(field.annotation)
    of_field: Any = inner[0] if inner else field.annotation
    below = {each for part in parts(AddedSettings) for each in part.groups if each.rpartition(".")[0] == place}
    within = {each.rpartition(".")[2]: whole_field(of_field, each) for each in sorted(below)}
    whole: Any = extended(of_field, added_at(place), **within)
    changed = copy(field)
    if isinstance(field.default, BaseModel):
        changed.default = whole()
    if is_list:
        return tuple[whole, ...], changed
    return (whole | None if inner else whole), changed


def extended(group: type[ConfigGroup], added: Sequence[type[ConfigGroup]], **fields: Any) -> type[ConfigGroup]:
    """Return a group with the settings of others behind its own, and with these fields in place of its own."""
    # Of two bases, pydantic has the settings of the last first.
    bases: tuple[type[ConfigGroup], ...] = (*reversed(added), group)
    return create_model(group.__name__, __base__=bases, __doc__=group.__doc__, **fields)


def values_of_route(route: RouteConfig) -> FeatureValues:
    """Return the settings of a route that features have added: their groups, with its values."""
    return FeatureValues.of(group_in(route, kind) for kind in added_at(ROUTES))


def group_in(whole: ConfigGroup, kind: type[ConfigGroup]) -> ConfigGroup:
    """Return a group that a feature has added to another, alone. The values were checked."""
    return kind.model_construct(**{name: getattr(whole, name) for name in kind.model_fields})
