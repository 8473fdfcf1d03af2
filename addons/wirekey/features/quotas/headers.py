"""The headers of a response that say what is left of limits per minute, by the names of the client's format. Pure.

OpenAI gives the time until a limit is full again as a duration (https://platform.openai.com/docs/guides/rate-limits),
Anthropic as a moment (https://docs.claude.com/en/api/rate-limits). The other formats have no such headers, and get
those of OpenAI.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.shared_state import RateLevel
    from wirekey.features.quotas.hold import Hold
    from wirekey.features.quotas.limits import RateLimit

COUNTED = (("requests_per_minute", "requests"), ("tokens_per_minute", "tokens"))


def limit_headers(hold: Hold, provider: str, sent: Mapping[str, str], now: float) -> dict[str, str]:
    """Return the headers for what is left of the tightest limits of a call.

    `provider`: whose format the client uses. `sent`: the headers that the response has already; the provider's own
    stand. `now`: Unix seconds.
    """
    headers = PROVIDERS[provider].headers.limits
    found: dict[str, str] = {}
    for limit_name, counted in COUNTED:
        if any(headers.name(counted, value) in sent for value in ("limit", "remaining", "reset")):
            continue
        tightest = min(levels_of(hold, limit_name), key=share_left, default=None)
        if tightest is None:
            continue
        limit, level = tightest
        found |= {
            headers.name(counted, "limit"): str(limit.rate.limit),
            headers.name(counted, "remaining"): str(level.remaining),
            headers.name(counted, "reset"): moment(now + level.reset) if headers.reset_at else duration(level.reset),
        }
    return found


def levels_of(hold: Hold, name: str) -> Iterator[tuple[RateLimit, RateLevel]]:
    """Yield the limits per minute of a kind, with their levels after the call was taken."""
    return ((limit, level) for limit, level in zip(hold.rates, hold.levels, strict=True) if limit.name == name)


def share_left(found: tuple[RateLimit, RateLevel]) -> tuple[float, float]:
    """Return the share that is left of a limit, and the time until it is full, negative, to compare empty ones."""
    limit, level = found
    return level.remaining / (limit.rate.burst or limit.rate.limit), -level.reset


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: `120ms`, `1.5s`, `6m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{text}s" if minutes else f"{text}s"


def moment(timestamp: float) -> str:
    """Return Unix seconds as Anthropic writes them, rounded up: `2026-01-31T23:59:59Z`."""
    return f"{datetime.fromtimestamp(-int(-timestamp // 1), UTC):%Y-%m-%dT%H:%M:%SZ}"
