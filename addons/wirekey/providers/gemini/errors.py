"""Errors of Wirekey's own in the format of Google's APIs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wirekey.providers.gemini.responses import OPENAI_NAMES, media_type
from wirekey.providers.openai.errors import OpenAiErrors

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

_OPENAI = OpenAiErrors()

# google.rpc.Code by HTTP status, as Google's servers pair them.
_STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    407: "UNAUTHENTICATED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GeminiErrors:
    """Writes a refusal as Google's servers would, so that its SDK raises its usual exception."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of an error."""
        headers = {"content-type": "application/json; charset=UTF-8"}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return json.dumps(_error(refusal, request_id), indent=2).encode(), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error; empty if its format has none."""
        if operation.name in OPENAI_NAMES:
            return _OPENAI.stream_error(refusal, operation, content_type)
        error = json.dumps(_error(refusal)).encode()
        if media_type(content_type) == "text/event-stream":
            # Bare, not after `data:`: so Google ends a stream, and only so all of its SDKs raise.
            return b"\n\n" + error + b"\n\n"
        return b",\n" + error + b"\n]" if operation.stream else b""


def _error(refusal: Refusal, request_id: str | None = None) -> dict[str, object]:
    information = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": refusal.code.upper(),
        "domain": "wirekey",
        "metadata": {"request_id": request_id} if request_id else {},
    }
    details: list[dict[str, object]] = [{**information}]
    if refusal.retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{refusal.retry_after}s"})
    status = _STATUS_WORDS.get(refusal.status, "INVALID_ARGUMENT" if refusal.status < 500 else "INTERNAL")
    # `error` stands first and alone: the SDKs look for it at the very beginning.
    return {"error": {"code": refusal.status, "message": refusal.message, "status": status, "details": details}}
