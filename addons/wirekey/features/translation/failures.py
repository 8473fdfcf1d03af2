"""Errors of a provider, from any format into any other.

The status stays where the client's format knows it. The message is the provider's, with the format's name before it and
at most 2 KiB of it; the raw body never passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MESSAGE = 2048
TRUNCATED = n.ProviderError(
    502, "The provider ended the stream before the response was complete.", "upstream_truncated"
)
UNREADABLE = n.ProviderError(502, "The response of the provider cannot be read.", "unreadable_answer")
TOO_LONG = n.ProviderError(
    502, "An event of the provider's stream is too long to be translated.", "cannot_translate_answer"
)

GENERATED = n.ProviderError(
    502, "The model returned media that the format of the client cannot hold.", "cannot_translate_answer"
)

_CONTEXT = re.compile(
    r"context.{0,12}(length|window)|too long|maximum.{0,20}tokens|exceeds?.{0,30}token", re.IGNORECASE
)
_SECONDS = re.compile(r"[0-9]{1,7}")
_MILLISECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,6})?")
_DELAY = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?s")
_BY_TYPE = {
    "overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "authentication_error": 401,
    "permission_error": 403, "not_found_error": 404, "invalid_request_error": 400, "billing_error": 402,
    "timeout_error": 504, "request_too_large": 413, "server_error": 500, "insufficient_quota": 429,
    "throttlingException": 429, "ThrottlingException": 429, "validationException": 400, "ValidationException": 400,
    "internalServerException": 500, "modelStreamErrorException": 424, "serviceUnavailableException": 503,
    "modelTimeoutException": 408, "rate_limit_exceeded": 429, "INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503, "INTERNAL": 500, "DEADLINE_EXCEEDED": 504, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404, "server_overloaded": 503,
}  # fmt: skip
"""HTTP statuses of error types that stand in the body of a successful response."""


def read_failure(form: str, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> n.ProviderError:
    """Return the error in the body of a response, whatever the body looks like. Never raises."""
    error = _error_members(body)
    message = _message(error)
    kind = _text(error.get("type")) or _text(error.get("status")) or ""
    code = _text(error.get("code")) or kind
    if status < 400:
        status = _BY_TYPE.get(kind) or _BY_TYPE.get(code) or 500
    return n.ProviderError(status, f"{form}: {message[:MAX_MESSAGE]}", code, _retry_after(error, headers or {}))


def failure_of_event(form: str, error: Mapping[str, Any], kind: str = "") -> n.ProviderError:
    """Return the error that an event of a stream holds."""
    kind = kind or _text(error.get("type")) or _text(error.get("status")) or ""
    code = _text(error.get("code")) or kind
    number = error.get("code")
    status = (
        number if isinstance(number, int) and 400 <= number < 600 else _BY_TYPE.get(kind) or _BY_TYPE.get(code) or 500
    )
    return n.ProviderError(status, f"{form}: {_message(error)[:MAX_MESSAGE]}", code)


def _error_members(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(found, list):
        found = found[0] if found else {}
    if not isinstance(found, dict):
        return {}
    error = found.get("error", found)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _message(error: Mapping[str, Any]) -> str:
    """Return the sentence of an error. Servers made with FastAPI have it, or a list of faults, in `detail`."""
    inner = error.get("message")
    detail = inner.get("detail") if isinstance(inner, dict) else error.get("detail")
    found = _text(inner) or _text(error.get("Message")) or _text(detail) or _faults(detail)
    return found or "The provider returned an error."


def _faults(detail: object) -> str:
    faults = [fault for fault in detail if isinstance(fault, dict)] if isinstance(detail, list) else []
    return "; ".join(_fault(fault) for fault in faults[:8] if _text(fault.get("msg")))


def _fault(fault: dict[str, Any]) -> str:
    place = fault.get("loc")
    return (
        f"{'.'.join(str(part)[:64] for part in place[:8])}: {fault['msg']}" if isinstance(place, list) else fault["msg"]
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _retry_after(error: dict[str, Any], headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait: of a header, or of Google's RetryInfo."""
    precise, given = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if _MILLISECONDS.fullmatch(precise):
        return float(precise) / 1000
    if _SECONDS.fullmatch(given):
        return int(given)
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        delay = _text(detail.get("retryDelay")) if isinstance(detail, dict) else None
        if delay and _DELAY.fullmatch(delay):
            return float(delay[:-1])
    return None


def is_context_too_long(failure: n.ProviderError) -> bool:
    """Return whether a request was refused because the conversation is longer than the model's context."""
    return failure.code == "context_length_exceeded" or (
        failure.status in {400, 413} and bool(_CONTEXT.search(failure.message))
    )


OWN_CODES = frozenset({TRUNCATED.code, UNREADABLE.code, TOO_LONG.code})
"""Codes of errors that are not the provider's own: its response could not be translated."""
