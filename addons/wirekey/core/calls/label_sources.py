"""The sources of labels that features add, beside the entries of agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.core.calls.settings import Settings
    from wirekey.core.labels import FoundLabels

type Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HeaderLabels:
    """The part of a feature that reads labels in the head of a request. They are unverified. Only one may be installed.

    `read` gets the header fields without credentials, and as the client sent them. It returns `labels.NOTHING` if there
    are no labels.
    """

    read: Callable[[Settings, Fields, Fields], FoundLabels]
