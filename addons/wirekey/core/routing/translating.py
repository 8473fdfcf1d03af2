"""Whether calls are translated whose route leads to an upstream of another format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature_registry import is_installed, needs, parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config

FEATURE = "translation"
NOTE = f" Wirekey would translate the call, but that {needs(FEATURE)}."


@dataclass(frozen=True, slots=True)
class FormatTranslation:
    """The part of a feature that translates calls. `enabled` returns whether a configuration lets it."""

    enabled: Callable[[Config], bool]


def translates(config: Config) -> bool:
    """Return whether a call may go to an upstream of another format."""
    return any(part.enabled(config) for part in parts(FormatTranslation))


def missing_note() -> str:
    """Return a sentence for the refusal of a call that would be translated; empty if the feature is not missing."""
    return "" if is_installed(FEATURE) else NOTE
