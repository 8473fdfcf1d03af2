"""The guard around what the wire layer calls: an exception there would end the client's connection, unrecorded."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.calls.state import CallState

logger = logging.getLogger(__name__)


class KeepsStates(Protocol):
    """The class of a guarded method. It finds the state of a call by flow id."""

    states: Mapping[str, CallState]


def guard[Method: Callable[..., Any]](*, on_error: Callable[..., Any]) -> Callable[[Method], Method]:
    """Guard a method whose first argument is a flow.

    When it raises, the exception is logged without its message, which may quote the call, and the method returns what
    `on_error` returns for the same arguments.
    """

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def guarded(self: KeepsStates, *arguments: Any) -> Any:
            try:
                return method(self, *arguments)
            except Exception as error:
                state = self.states.get(getattr(arguments[0], "id", ""))
                named = {"call": state.call.id if state else None}
                logger.error("%s failed: %s", method.__name__, safe_traceback(error), extra=named)  # noqa: TRY400  # without the message
                return on_error(self, *arguments)

        guarded.guard = decorate  # type: ignore[attr-defined]  # tests guard a method that fails with it
        return guarded  # type: ignore[return-value]  # functools.wraps keeps the signature

    return decorate
