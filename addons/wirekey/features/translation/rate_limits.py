"""Rate limits in the headers of a response, from OpenAI's names into Anthropic's and back.

OpenAI says in a duration when a limit is reset (`6m0s`), Anthropic in a time (RFC 3339). Gemini and Bedrock have no
such headers, and none are made up.

Sources: https://platform.openai.com/docs/guides/rate-limits, https://docs.claude.com/en/api/rate-limits.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.features.translation.format import TranslatedFormat

_COUNTED = ("requests", "tokens")
"""Anthropic's limits of input and of output tokens have no counterpart."""
_VALUES = ("limit", "remaining", "reset")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?!s))?(?:(\d{1,7}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
_NUMBER = re.compile(r"[0-9]{1,18}")
MOST_SECONDS = 366 * 24 * 3600


def rate_limits(
    upstream: TranslatedFormat, client: TranslatedFormat, headers: Mapping[str, str], now: float
) -> dict[str, str]:
    """Return the headers of the client's format for the rate limits that a response has.

    `headers` are the response's, by lower-case name. `now` is the time in seconds since 1970. A value that is not what
    the format documents is left out.
    """
    given, own = upstream.wire.limits, client.wire.limits
    found: dict[str, str] = {}
    if given is None or own is None:
        return found
    for counted in _COUNTED:
        for value in _VALUES:
            text = headers.get(given.name(counted, value))
            if text is None:
                continue
            shown = _reset(text, now, as_time if own.reset_at else as_duration) if value == "reset" else _number(text)
            if shown is not None:
                found[own.name(counted, value)] = shown
    return found


def _number(text: str) -> str | None:
    return text if _NUMBER.fullmatch(text) else None


def _reset(text: str, now: float, write: Callable[[float, float], str]) -> str | None:
    seconds = _seconds(text, now)
    return None if seconds is None else write(seconds, now)


def as_time(seconds: float, now: float) -> str:
    """Return the time in some seconds as Anthropic writes it."""
    return datetime.fromtimestamp(math.ceil(now + seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str, now: float) -> float | None:
    """Return the seconds from `now` of a duration or a time, or None if it is neither."""
    found = _DURATION.fullmatch(text)
    if found and text:
        days, hours, minutes, seconds, thousandths = (float(one or 0) for one in found.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    else:
        try:
            total = datetime.fromisoformat(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(total, 0.0), MOST_SECONDS)


def as_duration(seconds: float, _: float = 0) -> str:
    """Return a duration as OpenAI writes it: `120ms`, `1s`, `6m0s`, `1h0m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
