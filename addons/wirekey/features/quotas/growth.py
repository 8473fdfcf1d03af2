"""The output of a call that quotas with `reserve: expected` have reserved, which grows as the call writes more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.features.quotas.estimate import Use
    from wirekey.features.quotas.expected_output import CallKind


@dataclass(slots=True)
class Growth:
    """The use that is expected of an attempt, for quotas with `reserve: expected`."""

    kind: CallKind
    use_of: Callable[[int], Use]
    """Returns the use of the attempt with a number of output tokens."""
    most: int
    """The most output tokens that it can have."""
    hidden: int
    """The tokens of reasoning that its stream may hide."""
    tokens: int
    """The output tokens that are reserved."""
    use: Use
    """The use that is reserved."""
