"""The terms of use of what a configuration enables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wirekey.config.models import Config


@dataclass(frozen=True, slots=True)
class TermsOfUse:
    """The part of a feature that tells operators whose terms apply. `lines` returns nothing if it is off.

    The lines are in the log at the start, and printed by `wirekey config check`.
    """

    lines: Callable[[Config], Iterable[str]]


def terms_of_features(config: Config) -> Iterator[str]:
    """Yield the lines of all features that a configuration enables."""
    for part in parts(TermsOfUse):
        yield from part.lines(config)
