"""Embeddings without meaning: of length one, the same each time."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from wirekey_simulator.exchange import BadRequest

MOST_DIMENSIONS = 4096


def vector(dimensions: Any) -> tuple[float, ...]:
    """Return `dimensions` numbers, rounded to six places. Raises BadRequest if no model has that many dimensions."""
    if not isinstance(dimensions, int) or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise BadRequest(f"The number of dimensions must be from 1 to {MOST_DIMENSIONS}.")
    return _vector(dimensions)


@lru_cache(maxsize=16)
def _vector(dimensions: int) -> tuple[float, ...]:
    values = [math.sin(index + 1) for index in range(dimensions)]
    length = math.hypot(*values)
    return tuple(round(value / length, 6) for value in values)
