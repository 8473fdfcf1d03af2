"""Slows down guessing: after some failures, each further failure doubles the wait. Pure."""

from __future__ import annotations

import math
from ipaddress import IPv6Address, ip_address

FREE = 5
"""Failures without a wait, because people mistype and a program may try an old secret first."""
MAX_WAIT = 300.0
"""Seconds."""
FORGOTTEN = 900.0
"""Seconds without a failure after which all failures are forgotten."""
MAX_ENTRIES = 10_000
"""Callers remembered at a time. Beyond this, the one with the oldest failure is forgotten."""


class Throttle[Caller]:
    """Counts failures by caller. Times are seconds of a monotonic clock."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most = most
        self._failures: dict[Caller, tuple[int, float]] = {}

    def wait(self, caller: Caller, now: float) -> int:
        """Return the whole seconds that a caller has to wait; 0 means that it may try now."""
        count, last = self._failures.get(caller, (0, 0.0))
        if count < FREE:
            return 0
        pause = min(2.0 ** min(count - FREE, 30), MAX_WAIT)
        return max(0, math.ceil(last + pause - now))

    def failed(self, caller: Caller, now: float) -> None:
        """Record a failure of a caller."""
        count, last = self._failures.pop(caller, (0, now))
        while len(self._failures) >= self._most:
            del self._failures[next(iter(self._failures))]
        self._failures[caller] = (1 if now - last >= FORGOTTEN else count + 1), now

    def succeeded(self, caller: Caller) -> None:
        """Forget the failures of a caller."""
        self._failures.pop(caller, None)

    def __len__(self) -> int:
        return len(self._failures)


def neighbourhood(address: str) -> str:
    """Return the part of an address that one owner cannot vary: loopback as one, an IPv6 /64, else the address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return "loopback"
    return f"{int(ip) >> 64:x}/64" if isinstance(ip, IPv6Address) else str(ip)
