"""The endpoints of a listener by path, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.endpoints.local_request import BODY_BYTES
from wirekey.core.endpoints.readiness import health, readiness
from wirekey.core.local_response import LocalResponse, local_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.readiness import ReadinessReport
    from wirekey.core.endpoints.reply import LocalHandler, LocalReply

HEALTH_PATH = "/health"
"""The process is alive; the servers that it shares with other machines."""
READY_PATH = "/ready"
"""Whether the process is ready for calls: 200 or 503, for each part."""

SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
"""Headers of each response, unless it sets them itself."""


def health_routes(report: Callable[[], ReadinessReport]) -> dict[str, LocalHandler]:
    """Return path → handler of health and readiness, which `report` describes."""
    return {
        HEALTH_PATH: lambda request: wrong_method(request) or health(report()),
        READY_PATH: lambda request: wrong_method(request) or readiness(report()),
    }


def reply_of(handler: LocalHandler, request: LocalRequest) -> LocalReply:
    """Return the reply of an endpoint, or an error if the body is too long to reach it."""
    return too_long() if request.body is None else handler(request)


def not_found(_: LocalRequest) -> LocalResponse:
    """Return the error for a path that is no endpoint."""
    return local_error(404, "not_found", f"No endpoint has this path. There are GET {HEALTH_PATH} and {READY_PATH}.")


def too_long() -> LocalResponse:
    """Return the error for a body that is too long."""
    return local_error(413, "invalid_request", f"The body is longer than {BODY_BYTES} bytes.")


def wrong_method(request: LocalRequest) -> LocalResponse | None:
    """Return the error for a method other than GET and HEAD, or None."""
    if request.method in ("GET", "HEAD"):
        return None
    return local_error(405, "invalid_request", "Read this with GET.", ("allow", "GET, HEAD"))


def headers_of(response: LocalResponse) -> dict[str, str]:
    """Return all headers of a response."""
    return SECURITY | {name.lower(): value for name, value in response.headers}
