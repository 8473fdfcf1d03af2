"""Checks where a provider's redirect leads: only to the provider itself, through Wirekey. Pure.

Clients that follow a redirect send their headers along, including the agent's token. Programs parse odd URLs
differently, so a Location is refused unless it is clearly a path or `https://` with a known host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

REST = r"[!-\[\]-~]"
"""The characters of a URL: printable ASCII without the backslash, which browsers treat as a slash."""
ABSOLUTE = re.compile(rf"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?((?:[/?#]{REST}*)?)")
ROOTED = re.compile(rf"/(?!/){REST}*")
RELATIVE = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+(?:[/?#]{REST}*)?|[?#]{REST}*)?")
"""A path without a colon in its first part, which could be read as a scheme."""
HTTPS_PORT = "443"


@dataclass(frozen=True, slots=True)
class RedirectTargets:
    """How the hosts of a provider can be reached through Wirekey.

    `direct`: hosts under which clients may call it. `upstream`: the dialled host, perhaps with a port. `here`: scheme
    and host that the client called instead. `prefix`: the path that leads to this provider there, or "".
    """

    direct: Collection[str]
    upstream: str
    here: str
    prefix: str = ""


def location_for(location: str, ways: RedirectTargets) -> str | None:
    """Return the Location for the client, or None if it leads elsewhere."""
    if ROOTED.fullmatch(location):
        return ways.prefix + location
    if RELATIVE.fullmatch(location):
        return location
    found = ABSOLUTE.fullmatch(location)
    if found is None:
        return None
    host, port, rest = found[1].lower(), found[2], found[3]
    authority = host if port in (None, HTTPS_PORT) else f"{host}:{port}"
    if not ways.prefix and authority in ways.direct:
        return location
    if authority == ways.upstream or authority in ways.direct:
        path = rest if rest.startswith("/") else f"/{rest}"
        return f"{ways.here}{ways.prefix}{path}"
    return None
