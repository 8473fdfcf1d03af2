"""Errors of Wirekey's own in the format of Mistral's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import INSUFFICIENT_QUOTA

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

ERROR_TYPES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited"}


class MistralErrors:
    """Writes a refusal as Mistral's API would, so that its SDK raises its usual exception."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of an error."""
        headers = {"content-type": "application/json", "mistral-correlation-id": request_id}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return msgspec.json.encode(error_object(refusal)), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error. Its SDK raises, because this is no chunk."""
        if not content_type.lower().startswith("text/event-stream"):
            return b""
        return b"\n\ndata: " + msgspec.json.encode(error_object(refusal)) + b"\n\n"


def error_object(refusal: Refusal) -> dict[str, str | None]:
    """Return the object that describes an error."""
    fallback = "invalid_request_error" if refusal.status < 500 else "internal_server_error"
    kind = ERROR_TYPES.get(refusal.status, fallback)
    return {
        "object": "error",
        "message": refusal.message,
        "type": INSUFFICIENT_QUOTA if refusal.code == INSUFFICIENT_QUOTA else kind,
        "param": refusal.param,
        "code": refusal.code,
    }
