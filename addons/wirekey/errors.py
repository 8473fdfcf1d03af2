"""Why Wirekey itself answers a call, in words for a person; the provider modules phrase it for their SDK."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Whose fault a refusal is."""

    CALLER = "caller"
    OPERATOR = "operator"
    PROVIDER = "provider"
    WIREKEY = "wirekey"


@dataclass(frozen=True, slots=True)
class Refusal(Exception):  # noqa: N818  # it is an answer, not an error
    """An answer of our own. `message` says what was wrong and what to do, and holds no secret and no content.

    `status` is the HTTP status, `code` a stable snake_case word for programs, `retry_after` whole seconds,
    `error_type` the provider's own word for it where it has one that says more than the status.
    """

    status: int
    code: str
    message: str
    fault: Fault = Fault.CALLER
    retry_after: int | None = None
    error_type: str | None = None


INTERNAL_ERROR = Refusal(
    503,
    "wirekey_error",
    "Wirekey could not decide this call, so it was not sent. The operator finds the reason in the log.",
    Fault.WIREKEY,
)
"""For a call in which Wirekey itself failed."""
