"""The receivers of the messages of other processes, by topic."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Receivers:
    """Passes each message to the receivers of its topic.

    A receiver that fails, as on the message of a process with another version of Wirekey, costs only this message.
    """

    def __init__(self) -> None:
        self._by_topic: dict[str, list[Callable[[bytes], None]]] = {}
        self._failed: set[str] = set()

    def add(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` with each message about a topic."""
        self._by_topic.setdefault(topic, []).append(receive)

    def deliver(self, topic: str, message: bytes) -> None:
        """Pass a message on. Never raises; the first failure of a topic is logged."""
        for receive in self._by_topic.get(topic, ()):
            try:
                receive(message)
            except Exception as error:
                if topic not in self._failed:
                    self._failed.add(topic)
                    # Not an error, as mitmproxy would exit if it was logged during the start.
                    logger.warning(
                        "A message of another process about %s cannot be read: %s", topic, safe_traceback(error)
                    )
