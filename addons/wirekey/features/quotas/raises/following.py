"""Follows the raises in a running process: applies them, passes them on to other machines, and records them."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from wirekey.core.body import Body
from wirekey.core.call import Call, Outcome
from wirekey.core.errors import user_message
from wirekey.core.operation import Kind, Operation
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.quotas.raises.record import merged, raised_limits
from wirekey.features.quotas.raises.stored import KEPT, RaisesFile, exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.calls.services import Services
    from wirekey.core.identity.private_file import FileVersion
    from wirekey.features.quotas.definition import Quota, SubjectLimits
    from wirekey.features.quotas.raises.record import RaiseRecord

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the file. A raise must be in force within two seconds."""
QUERY_INTERVAL = 1.0
"""Seconds between two looks at the list of other machines."""
RAISE = Operation("quota.raise", Body.NONE, Kind.ADMINISTRATION)
LOWER = Operation("quota.lower", Body.NONE, Kind.ADMINISTRATION)


class FollowedRaises:
    """The raises of one process. `changed` is called when others are in force than before."""

    def __init__(self, services: Services, changed: Callable[[], None]) -> None:
        self._services = services
        self._changed = changed
        self._file: RaisesFile | None = None
        self._version: FileVersion = None
        self._queried = float("-inf")
        self._trouble: str | None = None
        self.known: tuple[RaiseRecord, ...] = ()
        self.active: tuple[RaiseRecord, ...] = ()

    def limits(self, quota: Quota, subject: str) -> SubjectLimits:
        """Return the limits of a subject that are in force."""
        return raised_limits(quota, subject, self.active)

    def open(self, folder: Path) -> None:
        """Read the raises before the first call. A file that cannot be used is reported, and raises nothing."""
        self._file = RaisesFile(folder)
        try:
            self._read()
        except Exception as error:
            self._report(error)
        self._apply()

    async def follow(self) -> None:
        """Follow the raises until it is cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(INTERVAL)

    async def check(self) -> None:
        """Apply what has changed. Never raises: a failure is reported once."""
        try:
            self._read()
            await self._exchange()
            await self._record()
            self._trouble = None
        except SharedStateUnavailableError:
            pass  # the state reports it
        except Exception as error:
            self._report(error)
        self._apply()

    def _report(self, error: Exception) -> None:
        trouble = user_message(error) or type(error).__name__
        if trouble != self._trouble:
            logger.warning("Raises of quotas: %s", trouble)  # mitmproxy would exit after an error at the start
        self._trouble = trouble

    def _read(self) -> None:
        assert self._file
        version = self._file.version()
        if version != self._version:
            self.known = self._file.read()
            self._version = version

    async def _exchange(self) -> None:
        state = self._services.shared_state
        if not state.is_remote or time.monotonic() - self._queried < QUERY_INTERVAL:
            return
        self._queried = time.monotonic()
        latest = await exchange(state, self.known)
        if latest != self.known:
            await self._change(lambda own: merged(own, latest, datetime.now(UTC)))

    async def _change(self, change: Callable[[tuple[RaiseRecord, ...]], tuple[RaiseRecord, ...]]) -> None:
        assert self._file
        self.known = await asyncio.to_thread(self._file.change, change)

    def _apply(self) -> None:
        now = datetime.now(UTC)
        active = tuple(each for each in self.known if each.is_active(now))
        if active != self.active:
            self.active = active
            self._changed()

    # The audit log. One process of all machines records an event.

    async def _record(self) -> None:
        if all(map(is_recorded, self.known)):
            return
        taken: list[RaiseRecord] = []

        def take(own: tuple[RaiseRecord, ...]) -> tuple[RaiseRecord, ...]:
            taken.extend(each for each in own if not is_recorded(each))
            return tuple(replace(each, recorded=True, end_recorded=each.ended_at is not UNSET) for each in own)

        await self._change(take)
        for each in taken:
            if not each.recorded:
                await self._record_once(each, RAISE)
            if each.ended_at is not UNSET and not each.end_recorded:
                await self._record_once(each, LOWER)

    async def _record_once(self, raised: RaiseRecord, operation: Operation) -> None:
        state = self._services.shared_state
        if state.is_remote:
            try:
                if await state.add(f"{operation.name}:{raised.id}", b"recorded", KEPT) is not None:
                    return
            except SharedStateUnavailableError:
                pass  # rather twice than never
        event = event_of(raised, operation)
        logger.warning("%s", event.policy_reason)
        self._services.store.record_final(event)


def is_recorded(raised: RaiseRecord) -> bool:
    """Return whether this machine has seen to all events of a raise."""
    return raised.recorded and (raised.ended_at is UNSET or raised.end_recorded)


def event_of(raised: RaiseRecord, operation: Operation) -> Call:
    """Return what the audit log records of a raise or its end. It counts as a call of no provider."""
    call = Call(method="RAISE" if operation is RAISE else "LOWER", operation=operation)
    call.outcome = Outcome.COMPLETED
    what = "quota_raised" if operation is RAISE else "quota_lowered"
    call.policy_reason = f"{what}: {raised.words}, by {raised.by}: {raised.why}"
    return call
