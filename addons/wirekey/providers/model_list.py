"""Models as the providers list them. Reading a list never fails: what cannot be read of it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

type Document = dict[str, Any]

MOST_MODELS = 1000
"""More than all providers list together; the policy is asked about each."""
MOST_ROWS = 10 * MOST_MODELS
"""Rows of a list that are looked at. It is read on the event loop."""
LONGEST_NAME = 256
_OWNERS = {"gemini": "google", "bedrock": "amazon"}
_LISTS = ("data", "models", "modelSummaries", "inferenceProfileSummaries")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model. `provider` names the one in whose format, and with whose name for it, it is called."""

    id: str
    provider: str
    name: str = ""
    """The display name; "" if the provider lists no name."""
    created: int = 0
    """Unix seconds; 0 if unknown."""
    methods: tuple[str, ...] = ()
    """The actions that Gemini lists for it."""
    in_every_format: bool = False
    """Whether a route leads to it, so that requests in the formats of other providers are translated."""
    own: Document | None = None
    """The provider's own description, in its own format; None for the name of a route, and for Bedrock."""

    @property
    def owner(self) -> str:
        """The company of the provider, as OpenAI's format names it."""
        return _OWNERS.get(self.provider, self.provider)


def read_list(read_model: Callable[[Document], ListedModel | None], document: object) -> tuple[ListedModel, ...]:
    """Return the models of one response to `model_list_targets`, each id once. `read_model`: that of the provider."""
    rows = document if isinstance(document, dict) else {}
    found: dict[str, ListedModel] = {}
    for key in _LISTS:
        listed = rows.get(key)
        for row in listed[:MOST_ROWS] if isinstance(listed, list) else ():
            model = read_model(row) if isinstance(row, dict) else None
            if model and 0 < len(model.id) <= LONGEST_NAME and model.id.isascii() and model.id.isprintable():
                found.setdefault(model.id, model)
    return tuple(found.values())[:MOST_MODELS]


def text_of(row: Document, key: str) -> str:
    """Return the string under a key, or "" if the key has no string."""
    value = row.get(key)
    return value if isinstance(value, str) else ""


def unix_seconds(written: object) -> int:
    """Return the Unix time of an ISO 8601 date; 0 if it is not one."""
    try:
        return int(datetime.fromisoformat(written).timestamp()) if isinstance(written, str) else 0
    except (ValueError, OverflowError):
        return 0


def iso_date(seconds: int) -> str:
    """Return a Unix time in ISO 8601, in UTC. 0, for an unknown time, is the beginning of 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
