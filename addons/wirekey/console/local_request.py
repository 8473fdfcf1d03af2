"""One request to us, and the checks of its head. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirekey.local_response import LocalResponse, local_error

BODY_BYTES = 64 * 1024
HEAD_BYTES = 16 * 1024
MOST_HEADERS = 100


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """`path`: raw, without the query. `body` None: longer than BODY_BYTES, so not read. `address`: without port.

    `query`: raw, without the question mark.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    address: str
    body: bytes | None = field(default=b"", repr=False)
    query: str = field(default="", repr=False)

    def values(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other.lower() == name]


def parse_local_request(
    method: str, target: str, headers: tuple[tuple[str, str], ...], address: str, *, too_long: bool = False
) -> LocalRequest:
    path, _, query = target.partition("?")
    return LocalRequest(method, path, headers, address, None if too_long else b"", query)


def wrong_head(target: str, version: str, headers: tuple[tuple[str, str], ...]) -> LocalResponse | None:
    """Give the answer to a head that cannot be taken; None where it can.

    Which Host it names is not judged here; what is shown to browsers judges it itself. A page that had its name point
    here (DNS rebinding) would read health and public keys, which are no secret, and could ask for a token only with a
    client's secret.
    """
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > HEAD_BYTES or len(headers) > MOST_HEADERS:
        message = f"The head of a request may have {HEAD_BYTES} bytes and {MOST_HEADERS} headers."
        return local_error(431, "head_too_large", message)
    hosts = sum(name.lower() == "host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version != "HTTP/1.0"):
        return local_error(400, "malformed", "A request has exactly one Host header.")
    if not target.startswith("/"):
        return local_error(
            400, "malformed", "This is no proxy: what is asked for must begin with /. See listen.forward."
        )
    return None
