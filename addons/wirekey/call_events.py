"""Telling those who watch (page, metrics, traces, log) that a call begins and that it has ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from wirekey.call import Call

logger = logging.getLogger(__name__)


class CallObserver(Protocol):
    """Called on the event loop for each call: it notes what it needs and returns at once.

    The call is the house's own, and goes on: what is needed of it later is copied. A denied call only ends.
    """

    def began(self, call: Call) -> None:
        """Its intent is recorded; it goes upstream next."""

    def ended(self, call: Call) -> None:
        """All that will be known about it is known, and handed to the audit store."""


class CallEvents:
    """Hands each call to all observers; one that fails is logged and disturbs neither the call nor the others."""

    def __init__(self) -> None:
        self.observers: list[CallObserver] = []

    def began(self, call: Call) -> None:
        for observer in self.observers:
            try:
                observer.began(call)
            except Exception as error:
                logger.error(  # noqa: TRY400  # see described
                    "%s failed: %s", type(observer).__name__, safe_traceback(error), extra={"call": call.id}
                )

    def ended(self, call: Call) -> None:
        for observer in self.observers:
            try:
                observer.ended(call)
            except Exception as error:
                logger.error(  # noqa: TRY400  # see described
                    "%s failed: %s", type(observer).__name__, safe_traceback(error), extra={"call": call.id}
                )
