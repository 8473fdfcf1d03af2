"""How long an account cools down after Google has limited it. Pure; times are in seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.features.google_accounts.code_assist.errors import GoogleError

LIMITED = frozenset({429, 499, 503})
"""Statuses after which another account may do better."""
OVERLOADS = frozenset({499, 503})
"""Those that are a problem of the server, not of the account."""
RATE_LIMIT = 10.0
PER_MINUTE = 60.0
HOUR, DAY = 3600.0, 86400.0
OVERLOADED = 1.0
"""Of 499 and 503 without a time of their own: the server, not the account, has a problem."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_RETRY_IN = re.compile(
    r"(?:retry|reset)s? (?:in|after) (?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?", re.IGNORECASE
)
_EXHAUSTED = re.compile(r"QUOTA_EXHAUSTED|PerDay|per day|daily", re.IGNORECASE)
_PER_MINUTE = re.compile(r"PerMinute|per minute", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CoolDown:
    """How long an account cools down for the requested model.

    `grows`: no time was named, so the next cool-down in a row is twice as long, up to a day.
    """

    seconds: float
    grows: bool = False

    def after(self, earlier: int) -> float:
        """Return the seconds of this cool-down after `earlier` others in a row."""
        return min(DAY, self.seconds * 2.0 ** min(earlier, 16)) if self.grows else min(DAY, self.seconds)


def cool_down_after(error: GoogleError, retry_after: float | None, now: float) -> CoolDown | None:
    """Return the cool-down after an error, or None if it does not limit the account.

    `retry_after`: the seconds of that header, or None. `now`: Unix time, for a reset that is named by its time.
    """
    if error.code not in LIMITED:
        return None
    metadata = error.detail("ErrorInfo").get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    words = " ".join([error.reason, error.message, *_quotas(error)])
    if _EXHAUSTED.search(words):
        reset = _reset(metadata, now) or _said(error) or retry_after
        return CoolDown(reset) if reset else CoolDown(HOUR, grows=True)
    if (named := _delay(error) or _said(error) or retry_after) is not None:
        return CoolDown(named)
    if _PER_MINUTE.search(words):
        return CoolDown(PER_MINUTE)
    return CoolDown(RATE_LIMIT if error.code == 429 else OVERLOADED)


def _delay(error: GoogleError) -> float | None:
    """Return the seconds of google.rpc.RetryInfo."""
    found = _DURATION.fullmatch(str(error.detail("RetryInfo").get("retryDelay", "")))
    return float(found[1]) if found else None


def _said(error: GoogleError) -> float | None:
    """Return the seconds of "retry in 12.5s" or "reset after 1h2m3s" in the message."""
    found = _RETRY_IN.search(error.message)
    if not found or not any(found.groups()):
        return _delay(error)
    hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _reset(metadata: dict[str, object], now: float) -> float | None:
    """Return the seconds until the reset that the error names, by its time or its delay."""
    delay = _DURATION.fullmatch(str(metadata.get("quotaResetDelay", "")))
    if delay:
        return float(delay[1])
    try:
        at = datetime.fromisoformat(str(metadata.get("quotaResetTimeStamp", ""))).timestamp()
    except ValueError:
        return None
    return at - now if at > now else None


def _quotas(error: GoogleError) -> list[str]:
    """Return the names of the quotas that google.rpc.QuotaFailure reports."""
    violations = error.detail("QuotaFailure").get("violations")
    listed = violations if isinstance(violations, list) else []
    return [f"{each.get('quotaId', '')} {each.get('quotaMetric', '')}" for each in listed if isinstance(each, dict)]
