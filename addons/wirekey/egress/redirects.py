"""Where a provider's redirect may lead a client: to the provider itself, by way of Wirekey. Pure.

Clients that follow a redirect take their headers along, the agent's token among them. Programs read odd URLs in
different ways, so a Location that is not plainly a path or plainly `https://` and a known host leads elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

REST = r"[!-\[\]-~]"
"""What a URL is made of: printable ASCII without the backslash, which browsers read as a slash."""
ABSOLUTE = re.compile(rf"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?((?:[/?#]{REST}*)?)")
ROOTED = re.compile(rf"/(?!/){REST}*")
RELATIVE = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+(?:[/?#]{REST}*)?|[?#]{REST}*)?")
"""A path without a colon in its first part, which could be read as a scheme."""
HTTPS_PORT = "443"


@dataclass(frozen=True, slots=True)
class RedirectTargets:
    """How the hosts of a provider can be reached by way of Wirekey.

    `direct`: hosts as which clients may call it. `upstream`: host and perhaps port that was dialled. `here`: scheme and
    host that the client called instead, `prefix`: the path that leads to this provider there, "" for none.
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
