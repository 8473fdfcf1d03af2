"""Slows those who guess: after some failures each further one makes the next wait twice as long. Pure."""

from __future__ import annotations

import math
from ipaddress import IPv6Address, ip_address

FREE = 5
"""Failures that cost nothing: people mistype, and a program may try an old secret first."""
LONGEST = 300.0
"""Seconds that one waits at most."""
FORGOTTEN = 900.0
"""Seconds without a failure after which all is forgotten."""
MOST = 10_000
"""Who are remembered at a time; of more, the one whose last failure is longest ago is forgotten."""


class Throttle[Who]:
    """Failures by who made them. Times are of a clock that never goes back, in seconds."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._failures: dict[Who, tuple[int, float]] = {}

    def wait(self, who: Who, now: float) -> int:
        """Give the whole seconds that this one has to wait; 0: go on."""
        count, last = self._failures.get(who, (0, 0.0))
        if count < FREE:
            return 0
        pause = min(2.0 ** min(count - FREE, 30), LONGEST)
        return max(0, math.ceil(last + pause - now))

    def failed(self, who: Who, now: float) -> None:
        count, last = self._failures.pop(who, (0, now))
        while len(self._failures) >= self._most:
            del self._failures[next(iter(self._failures))]
        self._failures[who] = (1 if now - last >= FORGOTTEN else count + 1), now

    def succeeded(self, who: Who) -> None:
        self._failures.pop(who, None)

    def __len__(self) -> int:
        return len(self._failures)


def neighbourhood(address: str) -> str:
    """Give what one owner of addresses cannot change: all of loopback is one, and so is an IPv6 /64."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return "loopback"
    return f"{int(ip) >> 64:x}/64" if isinstance(ip, IPv6Address) else str(ip)
