"""The values that features make of a configuration, for `Settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature import NO_VALUES, FeatureValues
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config


@dataclass(frozen=True, slots=True)
class ConfiguredValue:
    """The part of a feature that makes a value of its own of a configuration; None if it is not configured.

    A reload makes it again. It is in `Settings.features`, by its type.
    """

    make: Callable[[Config], object | None]


@dataclass(frozen=True, slots=True)
class RenewedValue:
    """A ConfiguredValue that is made with the values until now, of which it may keep something."""

    make: Callable[[Config, FeatureValues], object | None]


def values_of_features(config: Config, previous: FeatureValues = NO_VALUES) -> FeatureValues:
    """Return the values of all features that a configuration turns on. Raises ConfigError."""
    made = [part.make(config) for part in parts(ConfiguredValue)]
    made += [part.make(config, previous) for part in parts(RenewedValue)]
    return FeatureValues.of(value for value in made if value is not None)
