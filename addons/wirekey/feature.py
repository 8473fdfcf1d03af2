"""A feature as the core sees it: its name, and the parts that it hands over."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wirekey.providers.protocol import Provider

MODULE = "wirekey.features"
"""The package in which each feature has its folder."""


@dataclass(frozen=True, slots=True)
class AddedCommand:
    """A command of `wirekey`: its name, its line in the help, and the module with its `command`.

    A name of two words adds a command to a group: `usage reconcile` to `usage`.
    """

    name: str
    help: str
    module: str


@dataclass(frozen=True)
class Later:
    """A function of a part whose module is imported when it is first called, as most commands never call it."""

    module: str
    name: str

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function, from its module."""
        found: Callable[..., Any] = attrgetter(self.name)(import_module(self.module))
        return found

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.function(*arguments)


def no_parts() -> tuple[object, ...]:
    """Return the parts of a feature that only has commands: none."""
    return ()


def no_providers() -> dict[str, Provider]:
    """Return the providers of most features: none."""
    return {}


@dataclass(frozen=True, slots=True)
class Feature:
    """A capability that a user can do without: one folder below `features/`, whose `__init__` has this value.

    `parts` returns what the feature adds to the core. The type of a part is defined beside the code of the core that
    asks for it: settings in `config/feature_settings.py`, values that are made of them in
    `core/calls/feature_values.py`, addons in `core/addons/order.py`, services and notices in
    `server/feature_parts.py`. It is a function, so that the help of the command line does not import them. Parts whose
    functions are in large modules have them as `Later`, so that commands which only read the configuration start fast.

    `providers` returns name → provider for `providers/registry.py`. It is no part, because parts import the settings,
    which import the providers.
    """

    name: str
    parts: Callable[[], tuple[object, ...]] = no_parts
    commands: tuple[AddedCommand, ...] = ()
    providers: Callable[[], Mapping[str, Provider]] = no_providers


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """Values of features, each found by its type."""

    by_type: Mapping[type, object] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, values: Iterable[object]) -> FeatureValues:
        """Return these values, of which no two have the same type."""
        return cls(MappingProxyType({type(value): value for value in values}))

    def find[V](self, kind: type[V]) -> V | None:
        """Return the value of a type, or None."""
        found = self.by_type.get(kind)
        if found is None:  # of most features, on each call
            return None
        assert isinstance(found, kind)
        return found

    def plus(self, value: object) -> FeatureValues:
        """Return these values and one more, in place of the one of its type."""
        return FeatureValues(MappingProxyType({**self.by_type, type(value): value}))


NO_VALUES = FeatureValues()


class FeatureData:
    """The data that features keep of one call, found by its type. It is neither stored nor shown."""

    __slots__ = ("_by_type",)

    def __init__(self) -> None:
        self._by_type: dict[type, object] | None = None  # most calls need none

    def find[V](self, kind: type[V]) -> V | None:
        """Return the object of a type, or None."""
        found = self._by_type.get(kind) if self._by_type else None
        if found is None:
            return None
        assert isinstance(found, kind)
        return found

    def put(self, value: object) -> None:
        """Keep an object, in place of the one of its type."""
        if self._by_type is None:
            self._by_type = {}
        self._by_type[type(value)] = value

    def remove(self, kind: type) -> None:
        """Forget the object of a type, if there is one."""
        if self._by_type:
            self._by_type.pop(kind, None)
