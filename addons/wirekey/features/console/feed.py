"""The live feed of calls: encoded once for all open pages, and not at all while no page is open.

Changes are collected for a tick. Each page gets the same bytes for a tick, in one write. If calls arrive faster than a
person can read, some are shown and the others only counted. If the start of a call was shown, its end is shown, too. A
page that does not receive its data is not written to; it is told to start again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.audit.event import outcome_values, request_values
from wirekey.core.call import Call, Outcome
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wirekey.core.audit.event import EventValue
    from wirekey.core.endpoints.reply import Outlet

    type EventValues = Sequence[EventValue]

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds for which changes are collected."""
ROWS_PER_SECOND = 100
"""New calls shown per second. Ends of calls that are already shown are not limited."""
BURST = 200
"""Calls that may be shown at once after a quiet time."""
PROBLEMS_PER_TICK = 5
"""Denied or failed calls per tick that are shown beyond the limit."""
MAX_SHOWN = 2000
"""Calls in progress whose end will be shown."""
KEPT_BYTES = 2 * 1024 * 1024
"""Bytes of frames kept for pages that reconnect."""
CATCHES_UP = 25
"""Frames that a page may be behind. A page further behind starts again."""
HEARTBEAT = 15.0
STUCK = 30.0
"""Seconds after which a page that receives nothing is disconnected."""
LINGERS = 20.0
"""Seconds for which the feed continues without a page, so that a page that reconnects misses nothing."""
PAGES = 64
CREDENTIALS = 256
"""Maximum number of key labels whose calls are counted."""


@dataclass(slots=True, eq=False)
class PageConnection:
    """One page that follows the feed. `may_stay`: whether its user is still signed in.

    `seen`: number of its last frame.
    """

    outlet: Outlet
    may_stay: Callable[[], bool]
    seen: int
    taken: float


class Feed:
    """A call observer that sends the feed to all pages. For one event loop."""

    def __init__(self) -> None:
        self.in_progress = 0
        self.used: Counter[str] = Counter()
        """Number of calls sent since the start, by label of the key."""
        self.on_followed: Callable[[bool], None] = lambda _: None
        """Called with whether any page follows, when that changes."""
        self._epoch = secrets.token_hex(4)
        self._last = 0
        self._frames: deque[bytes] = deque()
        self._kept = 0
        self._pages: list[PageConnection] = []
        self._on = False
        self._pending: dict[str, Call | EventValues] = {}
        self._shown: set[str] = set()
        self._allowance = float(BURST)
        self._problems = 0
        self._more = 0
        self._spent_at = 0.0
        self._tick: asyncio.TimerHandle | None = None
        self._heart: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def pages(self) -> int:
        """The number of pages that follow."""
        return len(self._pages)

    @property
    def is_full(self) -> bool:
        """Whether no further page may follow."""
        return len(self._pages) >= PAGES

    # The observer.

    def began(self, call: Call) -> None:
        """Show the start of a call, unless too many arrive."""
        self.in_progress += 1
        if not self._on:
            return
        if len(self._shown) < MAX_SHOWN and self._may_show():
            self._shown.add(call.id)
            self._show(call)

    def ended(self, call: Call) -> None:
        """Count the call, and show its end, unless too many arrive."""
        if call.intent_recorded:
            self.in_progress = max(0, self.in_progress - 1)
        if call.credential and call.attempts and (call.credential in self.used or len(self.used) < CREDENTIALS):
            self.used[call.credential] += 1
        if not self._on:
            return
        if call.id in self._shown:
            self._shown.discard(call.id)
            self._show(call)
        elif self._may_show():
            self._show(call)
        elif call.outcome is not Outcome.COMPLETED and self._problems < PROBLEMS_PER_TICK:
            self._problems += 1
            self._show(call)
        else:
            self._more += 1
            self._schedule()

    def show_values(self, call_id: str, values: EventValues) -> None:
        """Show a call of another worker, by the values of its audit event."""
        if self._on:
            self._pending[call_id] = values
            self._schedule()

    def await_ends(self, ids: Iterable[str]) -> None:
        """Show the ends of these calls, which a page already shows as in progress."""
        for call_id in ids:
            if self._on and len(self._shown) < MAX_SHOWN:
                self._shown.add(call_id)

    def _may_show(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._allowance = min(BURST, self._allowance + (now - self._spent_at) * ROWS_PER_SECOND)
        self._spent_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _show(self, call: Call) -> None:
        # The call is encoded later, so that one that starts and ends within a tick is encoded once.
        self._pending[call.id] = call
        self._schedule()

    def _schedule(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK, self._flush)

    # The pages.

    def join(self, outlet: Outlet, last_seen: str | None, may_stay: Callable[[], bool]) -> None:
        """Add a page. It continues after the frame that it saw last, or starts from now if that is too long ago."""
        loop = asyncio.get_running_loop()
        seen = self._position(last_seen)
        page = PageConnection(outlet, may_stay, self._last if seen is None else seen, loop.time())
        if not self._on:
            self._on = True
            self.on_followed(True)
        if self._end:
            self._end.cancel()
            self._end = None
        self._pages.append(page)
        if self._heart is None:
            self._heart = loop.call_later(HEARTBEAT, self._beat)
        if seen is None:
            outlet.send(self._start())
        else:
            self._offer(page, loop.time())

    def close(self) -> None:
        """End all streams."""
        for timer in (self._tick, self._heart, self._end):
            if timer:
                timer.cancel()
        self._tick = self._heart = self._end = None
        for page in self._pages:
            page.outlet.close()
        self._pages.clear()
        self._turn_off()

    def _position(self, last_seen: str | None) -> int | None:
        """Return the number of the last frame that a page has, or None if the following frames are gone."""
        epoch, _, number = (last_seen or "").partition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        behind = self._last - int(number)
        return int(number) if self._on and 0 <= behind <= min(CATCHES_UP, len(self._frames)) else None

    def _flush(self) -> None:
        self._tick = None
        calls, self._pending = self._pending, {}
        more, self._more = self._more, 0
        self._problems = 0
        if calls or more:
            self._last += 1
            self._keep(frame(f"{self._epoch}-{self._last}", calls.values(), more, self.in_progress))
        now = asyncio.get_running_loop().time()
        for page in tuple(self._pages):
            self._offer(page, now)
        if any(page.seen != self._last for page in self._pages):
            self._schedule()

    def _keep(self, data: bytes) -> None:
        self._frames.append(data)
        self._kept += len(data)
        while len(self._frames) > 1 and (self._kept > KEPT_BYTES or len(self._frames) > 4 * CATCHES_UP):
            self._kept -= len(self._frames.popleft())

    def _offer(self, page: PageConnection, now: float) -> None:
        """Send a page the frames that it does not have, unless it is still receiving earlier ones."""
        if not page.outlet.is_open:
            self._drop(page)
            return
        if page.outlet.is_busy:
            if now - page.taken > STUCK:
                self._drop(page)
            return
        page.taken = now
        behind, page.seen = self._last - page.seen, self._last
        if behind == 1:
            page.outlet.send(self._frames[-1])
        elif behind > min(CATCHES_UP, len(self._frames)):
            page.outlet.send(self._start())
        elif behind:
            page.outlet.send(b"".join(list(self._frames)[-behind:]))

    def _start(self) -> bytes:
        """Return the event that tells a page to load the recent calls. The following frames continue from them."""
        return f"id: {self._epoch}-{self._last}\nevent: start\ndata: {{}}\n\n".encode()

    def _beat(self) -> None:
        self._heart = None
        now = asyncio.get_running_loop().time()
        for page in tuple(self._pages):
            if not page.may_stay():
                self._drop(page)
                continue
            self._offer(page, now)
            if page.outlet.is_open and not page.outlet.is_busy:
                page.outlet.send(b": still here\n\n")
        if self._pages:
            self._heart = asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)

    def _drop(self, page: PageConnection) -> None:
        if page in self._pages:
            self._pages.remove(page)
        page.outlet.close()
        if not self._pages and self._end is None:
            self._end = asyncio.get_running_loop().call_later(LINGERS, self._turn_off)

    def _turn_off(self) -> None:
        self._end = None
        if self._on:
            self._on = False
            self.on_followed(False)
        self._pending.clear()
        self._shown.clear()
        self._frames.clear()
        self._kept = self._more = self._problems = 0


def frame(name: str, calls: Iterable[Call | EventValues], more: int, in_progress: int) -> bytes:
    """Return the event of a tick. `rows`: the values of audit events, in their order.

    `more`: calls that ended and are not shown.
    """
    rows = []
    for call in calls:
        try:
            values = request_values(call) + outcome_values(call) if isinstance(call, Call) else call
            rows.append(msgspec.json.encode(values))
        except Exception as error:
            logger.error("a call could not be encoded for the page: %s", safe_traceback(error))  # noqa: TRY400  # safe_traceback shows what is safe
            more += 1
    joined = b",".join(rows)
    return b'id: %s\ndata: {"rows":[%s],"more":%d,"in_progress":%d}\n\n' % (name.encode(), joined, more, in_progress)
