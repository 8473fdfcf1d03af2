"""Errors of Code Assist: read, and written as one object of Google's shape. Pure.

They are `{"error": {code, message, status, details[]}}`, sometimes in an array:
https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from wirekey.features.google_accounts.code_assist.unwrapping import first_of_array

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_document = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class GoogleError:
    """One error. `details`: the objects of google.rpc in it, as they are."""

    code: int
    message: str = ""
    status: str = ""
    details: tuple[dict[str, Any], ...] = ()

    def detail(self, kind: str) -> dict[str, Any]:
        """Return the first detail of a type of google.rpc, such as `RetryInfo`, or an empty object."""
        ending = f"google.rpc.{kind}"
        return next((each for each in self.details if str(each.get("@type", "")).endswith(ending)), {})

    @property
    def reason(self) -> str:
        """The `reason` of its ErrorInfo: RATE_LIMIT_EXCEEDED, QUOTA_EXHAUSTED, VALIDATION_REQUIRED, …."""
        return str(self.detail("ErrorInfo").get("reason", ""))


def read_error(status: int, body: bytes) -> GoogleError:
    """Return the error in the body of a response. One that cannot be read has only the status."""
    try:
        found = _document.decode(first_of_array(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return GoogleError(status)
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return GoogleError(status)
    details = error.get("details")
    return GoogleError(
        status,
        _word(error.get("message")),
        _word(error.get("status")),
        tuple(each for each in details if isinstance(each, dict)) if isinstance(details, list) else (),
    )


def write_error(status: int, body: bytes, hint: str = "") -> bytes:
    """Return an error as one object of Google's shape, with a hint after its message.

    Without a hint, an error of that shape keeps its bytes.
    """
    document = first_of_array(body)
    try:
        found = _document.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(found, dict) and isinstance(error, dict):
        if not hint:
            return document.strip()
        message = f"{_word(error.get('message'))} {hint}".strip()
        return msgspec.json.encode(found | {"error": error | {"message": message}})
    kind = STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    message = f"Code Assist responded with status {status}. {hint}".strip()
    return msgspec.json.encode({"error": {"code": status, "message": message, "status": kind}})


def project_hint(status: int, project: str | None) -> str:
    """Return what an operator should check after a call for a Google Cloud project failed; "" after other errors."""
    if status not in (403, 404) or not project:
        return ""
    return (
        f"The call was for the Google Cloud project {project}. Check that the API cloudaicompanion.googleapis.com is "
        "enabled in it, and that the credential belongs to it."
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
