"""The metrics that other features hand over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature_registry import parts
from wirekey.server.feature_parts import Measure, Measures

if TYPE_CHECKING:
    from wirekey.feature import FeatureValues


def measures_of(opened: FeatureValues) -> tuple[Measure, ...]:
    """Return the metrics of all features as they are now. Those of services that are off have no samples."""
    return tuple(measure for part in parts(Measures) for measure in part.read(opened))
