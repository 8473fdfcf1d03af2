"""The errors that are meant for people: refusals of calls, and problems of the operator.

A `Refusal` becomes the HTTP response to one call, in the error shape of the provider that the client expects. A
`UserError` becomes a log line or the last words of a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UserError(Exception):
    """Base class of errors that a person can fix: a bad configuration, a file that cannot be read, a taken port.

    The text says what is wrong, where, and what to do. It contains no secret. The command line prints it without a
    traceback and exits with `exit_code`; at the start and on a reload it is logged.
    """

    exit_code = 1

    def report(self) -> str:
        """Return the text that the command line prints."""
        return f"wirekey: {self}"


def user_message(error: Exception) -> str | None:
    """Return what to tell a person about an error, or None if the error is a bug in Wirekey."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return None


class Fault(StrEnum):
    """Whose fault a refusal is."""

    CALLER = "caller"
    OPERATOR = "operator"
    PROVIDER = "provider"
    WIREKEY = "wirekey"


# Not frozen: contextlib and others set `__traceback__` on an exception. Two refusals are never equal, like exceptions.
@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818  # it becomes a response and is often not an error
    """A response from Wirekey itself instead of one from a provider. It is never changed: many are constants.

    `message` says what was wrong and what to do. It contains no secret and no content of the request. `status` is the
    HTTP status, `code` a stable snake_case word for programs, `retry_after` whole seconds. `error_type` is the
    provider's own error type, set where the status alone does not determine it. `param` is the path of the member of
    the request that is at fault, for formats whose errors name it.
    """

    status: int
    code: str
    message: str
    fault: Fault = Fault.CALLER
    retry_after: int | None = None
    error_type: str | None = None
    param: str | None = None


INSUFFICIENT_QUOTA = "insufficient_quota"
"""The code of a refusal for a budget that is used up. To retry does not help before the next day or month."""
COMPANION_DECLINED = Refusal(
    404,
    "companion_declined",
    "No policy allows this request of a coding agent, which is not needed to call models.",
)
"""The response to a companion operation that the policy does not allow."""
INTERNAL_ERROR = Refusal(
    503,
    "wirekey_error",
    "Internal error: the request was not sent. The log of Wirekey has the reason.",
    Fault.WIREKEY,
)
"""The refusal of a call for which Wirekey itself failed."""
