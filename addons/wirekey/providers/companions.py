"""Companion operations: requests of coding agents for settings, telemetry, accounts and checks of the network.

Real sessions of the agents were recorded for the tables. Such requests are no API of the provider, so an SDK does not
depend on them. By default Wirekey responds 404 itself, which the agents accept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPERATIONS = {
    (what, reads): Operation(f"companion.{what}", Body.NONE if reads else Body.OPAQUE, Kind.COMPANION)
    for what in ("check", "settings", "telemetry", "registry", "account")
    for reads in (True, False)
}


class CompanionPaths:
    """The companion operations at a provider's host.

    `rows`: methods, pattern of raw paths, and what is requested. `at_the_gateway`: patterns of raw paths at the root of
    the gateway that agents call below a base URL.
    """

    def __init__(self, rows: Sequence[tuple[str, str, str]], at_the_gateway: tuple[str, ...] = ()) -> None:
        self.at_the_gateway = at_the_gateway
        self._rows = [(frozenset(methods.split("|")), re.compile(path), what) for methods, path, what in rows]

    def find(self, method: str, path: str) -> Operation | None:
        """Return the companion operation of a method and raw path, or None."""
        for methods, pattern, what in self._rows:
            if method in methods and pattern.fullmatch(path):
                return _OPERATIONS[what, method != "POST"]
        return None


NO_COMPANIONS = CompanionPaths(())
ONLY_CHECKS = CompanionPaths([("GET|HEAD", r"/", "check")])
"""Those of a provider of whose host agents only check that it can be reached."""
