"""Announces the beginning and the end of calls to observers: page, metrics, traces, log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from wirekey.core.call import Call

logger = logging.getLogger(__name__)


class CallObserver(Protocol):
    """Observes each call. The methods run on the event loop and return immediately.

    The call object is the one that Wirekey works on, and it changes later. So an observer copies what it needs later.
    A denied call only ends.
    """

    def began(self, call: Call) -> None:
        """Note a call whose intent is recorded. It is sent next."""

    def ended(self, call: Call) -> None:
        """Note a call of which everything is known. The audit store has it already."""


class CallEvents:
    """Passes each event to all observers. An observer that fails is logged and disturbs neither the call nor others."""

    def __init__(self) -> None:
        self.observers: list[CallObserver] = []
        self.continues_traces = False
        """Whether the trace that a client's call belongs to is read."""

    def began(self, call: Call) -> None:
        """Announce a call that is about to be sent."""
        for observer in self.observers:
            try:
                observer.began(call)
            except Exception as error:
                log_failure(observer, call, error)

    def ended(self, call: Call) -> None:
        """Announce a call that has ended."""
        for observer in self.observers:
            try:
                observer.ended(call)
            except Exception as error:
                log_failure(observer, call, error)


def log_failure(observer: CallObserver, call: Call, error: Exception) -> None:
    """Log the failure of an observer, without the exception's message, which may quote the call."""
    logger.error("%s failed: %s", type(observer).__name__, safe_traceback(error), extra={"call": call.id})
