"""The notice of a total that is nearly used up, signed as Standard Webhooks are. Pure.

It has names and amounts, and nothing of the content of any call.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.features.quotas.definition import ALL, NANODOLLARS, NOBODY
from wirekey.features.quotas.limit_names import is_money

if TYPE_CHECKING:
    from wirekey.core.secret import Secret
    from wirekey.features.quotas.thresholds import ReachedShare

PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64
"""Bytes of the key, as in the specification of Standard Webhooks."""
WARNING, EXHAUSTED = "quota.warning", "quota.exhausted"


def notice_of(reached: ReachedShare, notice_id: str, now: float) -> bytes:
    """Return the notice as JSON. `now`: Unix seconds."""
    limit = reached.limit
    period, applied = limit.period, limit.applied
    assert period
    unit = NANODOLLARS if is_money(limit.name) else 1
    is_lifetime = period.last is None
    data = {
        "id": notice_id,
        "quota": applied.quota.name,
        "per": applied.quota.per,
        "subject": None if applied.subject in (ALL, NOBODY) else applied.subject,
        "limit": limit.name,
        "share": reached.share,
        "spent": reached.spent / unit if unit > 1 else reached.spent,
        "allowed": limit.limit / unit if unit > 1 else limit.limit,
        "period": period.label,
        "period_start": None if is_lifetime else moment(period.start),
        "period_end": None if is_lifetime else moment(period.end),
    }
    kind = EXHAUSTED if reached.spent >= limit.limit else WARNING
    return json.dumps({"type": kind, "timestamp": moment(now), "data": data}, separators=(",", ":")).encode()


def moment(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def key_of(secret: Secret) -> bytes:
    """Return the key of a secret: base64, with or without `whsec_`. Raises ValueError."""
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"must be base64 of {SHORTEST_KEY} to {LONGEST_KEY} random bytes, with or without {PREFIX}. "
            "Create one: openssl rand -base64 32"
        )
    return key


def signed_headers(secret: Secret, notice_id: str, timestamp: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the headers of Standard Webhooks for a body. `timestamp`: Unix seconds."""
    signed = f"{notice_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key_of(secret), signed, "sha256")).decode()
    return (
        ("webhook-id", notice_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", f"v1,{signature}"),
    )
