"""Errors of Wirekey's own in the format of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import INSUFFICIENT_QUOTA, Fault
from wirekey.providers.openai.responses import CHUNKED

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class OpenAiErrors:
    """Writes a refusal as OpenAI's API would, so that its SDK raises its usual exception."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of an error."""
        headers = {"content-type": "application/json", "x-request-id": request_id}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        elif refusal.fault is Fault.OPERATOR or refusal.status < 500:
            # The SDK retries 409, 429 and 5xx. Here a person must act first.
            headers["x-should-retry"] = "false"
        return msgspec.json.encode({"error": error_object(refusal)}), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error; empty if its format has none."""
        if not content_type.lower().startswith("text/event-stream"):
            return b""
        error = error_object(refusal)
        if operation.name in CHUNKED:
            return b"\n\ndata: " + msgspec.json.encode({"error": error}) + b"\n\n"
        # The event of the Responses API has no member `error`, but only at one does the SDK raise.
        event = {
            "type": "error",
            "code": error["code"],
            "message": error["message"],
            "param": error["param"],
            "sequence_number": 0,
            "error": error,
        }
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def error_object(refusal: Refusal) -> dict[str, str | None]:
    """Return the object that describes an error."""
    fallback = "invalid_request_error" if refusal.status < 500 else "server_error"
    kind = ERROR_TYPES.get(refusal.status, fallback)
    return {
        "message": refusal.message,
        "type": INSUFFICIENT_QUOTA if refusal.code == INSUFFICIENT_QUOTA else kind,
        "param": refusal.param,
        "code": refusal.code,
    }
