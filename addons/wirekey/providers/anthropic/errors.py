"""Errors of Wirekey's own in the format of Anthropic's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import Fault

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


class AnthropicErrors:
    """Writes a refusal as Anthropic's API would, so that its SDK raises its usual exception."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of an error."""
        headers = {"content-type": "application/json", "request-id": request_id}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        elif refusal.fault is Fault.OPERATOR or refusal.status < 500:
            # The SDK retries 409, 429 and 5xx. Here a person must act first.
            headers["x-should-retry"] = "false"
        return msgspec.json.encode({**_error(refusal), "request_id": request_id}), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error; empty if its format has none."""
        if not content_type.lower().startswith("text/event-stream"):
            return b""
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(_error(refusal)) + b"\n\n"


def _error(refusal: Refusal) -> dict[str, object]:
    fallback = "invalid_request_error" if refusal.status < 500 else "api_error"
    kind = ERROR_TYPES.get(refusal.status, fallback)
    return {"type": "error", "error": {"type": kind, "message": refusal.message, "code": refusal.code}}
