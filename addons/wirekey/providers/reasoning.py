"""Reads how long a model may think before it writes, for the output that its stream does not show.

Providers name an effort or a limit of tokens. The most that an effort can take is not documented. The shares are those
by which https://openrouter.ai/docs/use-cases/reasoning-tokens makes a limit of an effort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS

if TYPE_CHECKING:
    from wirekey.providers.request_json import JsonObject

SHARES = {"none": 0.0, "minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}
"""Effort → the share of the largest output that it takes at most. An unknown effort may take all."""
UNKNOWN = "unknown"
"""In place of any other effort: it is a text that the client chooses."""

_stated = msgspec.json.Decoder(str | int | dict[str, msgspec.Raw] | None)
_value = msgspec.json.Decoder(str | int | None)


def read_reasoning(body: JsonObject, key: str, *names: str) -> str | int | None:
    """Return the effort or the limit of tokens under a key, or under one of these names in its object.

    None if the request says nothing that can be read. The provider refuses what it cannot read itself.
    """
    raw = body.values.get(key)
    if raw is None:
        return None
    try:
        stated = _stated.decode(raw)
        members = stated if isinstance(stated, dict) else {"": raw}
        for name in (*names, ""):
            value: str | int | None = _value.decode(members[name]) if name in members else None
            if isinstance(value, str):
                return value.lower() if value.lower() in SHARES else UNKNOWN
            if value is not None:
                return value
    except DECODE_ERRORS:
        return None
    return None


def most_reasoning(stated: str | int | None, most_output: int) -> int | None:
    """Return the most tokens of reasoning that a request allows; None if it leaves that to the model."""
    if isinstance(stated, str):
        return round(SHARES.get(stated, 1.0) * most_output)
    return None if stated is None or stated < 0 else min(stated, most_output)
