"""The record of a raise, and the limits that are in force because of raises. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from wirekey.features.quotas.definition import UNLIMITED, SubjectLimits
from wirekey.features.quotas.limit_names import KINDS, LIMITS, TOTALS
from wirekey.features.quotas.refusals import amount_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wirekey.features.quotas.definition import Quota

LONGEST = timedelta(days=31)
"""The longest time of a raise. Its record is kept until it is over, so that no machine begins it again."""
LONGEST_WHY = 200
MOST = 1000
"""Raises that are kept: the latest ones."""

Time = Annotated[datetime, Meta(tz=True)]
Amount = Annotated[int, Meta(ge=0, le=2**50)]
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*\Z"
"""Texts from the list of all machines are shown in terminals and logs."""


class RaiseRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A raise of all totals of a kind, for one subject of a quota or for each of them."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    quota: Annotated[str, Meta(max_length=64, pattern=PRINTABLE)]
    subject: Annotated[str, Meta(max_length=256, pattern=PRINTABLE)] | UnsetType = UNSET
    """Unset: each subject."""
    usd: Amount = 0
    """In billionths of a dollar."""
    tokens: Amount = 0
    requests: Amount = 0
    created: Time
    until: Time
    why: Annotated[str, Meta(max_length=LONGEST_WHY, pattern=PRINTABLE)]
    by: Annotated[str, Meta(max_length=64, pattern=PRINTABLE)]
    """The user of the system who ran the command."""
    ended_at: Time | UnsetType = UNSET
    """When it was ended early."""
    recorded: bool = False
    """Whether a process of this machine has seen to its audit event."""
    end_recorded: bool = False
    """Whether it has seen to the event of its end."""

    def is_active(self, now: datetime) -> bool:
        """Return whether it is in force."""
        return self.ended_at is UNSET and now < self.until

    def concerns(self, quota: str, subject: str) -> bool:
        """Return whether it raises the limits of a subject of a quota."""
        return self.quota == quota and self.subject in (UNSET, subject)

    @property
    def words(self) -> str:
        """The raise in words, for lists, logs and the audit log."""
        given = [amount_in_words(kind, amount) for kind in KINDS if (amount := getattr(self, kind))]
        of = "" if self.subject is UNSET else f" for {self.subject}"
        return f"{self.quota}{of} by {' and '.join(given)} until {self.until:%Y-%m-%dT%H:%M:%SZ}"


class StoredRaises(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole content of the file, and of the list in a shared state."""

    version: int = 1
    raises: tuple[RaiseRecord, ...] = ()


_decoder = msgspec.json.Decoder(StoredRaises)


def decode(data: bytes | None) -> tuple[RaiseRecord, ...]:
    """Return stored raises. Raises ValueError."""
    try:
        return _decoder.decode(data).raises if data else ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not a valid list of raises ({error})") from error


def encode(raises: Sequence[RaiseRecord]) -> bytes:
    """Return raises as they are stored."""
    return msgspec.json.format(msgspec.json.encode(StoredRaises(raises=tuple(raises))), indent=2) + b"\n"


def merged(
    own: Iterable[RaiseRecord], others: Iterable[RaiseRecord], now: datetime, *, is_shared: bool = False
) -> tuple[RaiseRecord, ...]:
    """Return the raises of both that are not over yet, the latest at the end. An end in one of them holds.

    Each machine notes for itself which of them it has recorded. `is_shared`: for the list of all machines, without it.
    """
    found = {each.id: each for each in own}
    for other in others:
        known = found.get(other.id)
        if known is None:
            found[other.id] = replace(other, recorded=False, end_recorded=False)
        elif known.ended_at is UNSET and other.ended_at is not UNSET:
            found[other.id] = replace(known, ended_at=other.ended_at)
    kept = (each for each in found.values() if now < each.until and each.until - now <= LONGEST)
    if is_shared:
        kept = (replace(each, recorded=False, end_recorded=False) for each in kept)
    return tuple(sorted(kept, key=lambda each: (each.created, each.id))[-MOST:])


def raised_limits(quota: Quota, subject: str, active: Iterable[RaiseRecord]) -> SubjectLimits:
    """Return the limits of a subject with the raises that are in force."""
    usual = quota.limits_of(subject)
    concerned = [each for each in active if each.concerns(quota.name, subject)]
    if not concerned:
        return usual
    limits = {name: getattr(usual, name) for name in LIMITS}
    for name, (kind, _) in TOTALS.items():
        if limits[name] is not None:
            limits[name] = min(UNLIMITED, limits[name] + sum(getattr(each, kind) for each in concerned))
    return SubjectLimits(**limits)
