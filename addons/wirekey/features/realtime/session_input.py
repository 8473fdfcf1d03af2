"""The input that the next response of a connection may read: what both sides have added to the conversation so far.

A provider reports the tokens of a response when it ends. Those, and what the client has sent since the response was
asked for, are the most that the next one reads. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.operation import Facts
from wirekey.features.realtime.messages import Asks

if TYPE_CHECKING:
    from wirekey.core.operation import Usage
    from wirekey.features.realtime.messages import ClientMessage

BYTES_PER_TOKEN = 3
"""Fewer than text and JSON have."""
OWN_INSTRUCTIONS = 512
"""Tokens that a provider adds itself, such as its default instructions."""


class SessionInput:
    """The input of one connection. `setup`: the facts of its first message, which has `size` bytes."""

    def __init__(self, setup: Facts | None, size: int) -> None:
        self._setup = setup or Facts()
        self._refers = self._setup.reads_elsewhere
        """Whether the settings of the session refer to input that the client does not send."""
        self._sent = OWN_INSTRUCTIONS + size // BYTES_PER_TOKEN
        """Tokens of all that the client has sent."""
        self._read = 0
        """Tokens of the last response of the conversation, with its input."""
        self._included = 0
        """How many of `_sent` that response is sure to have read."""
        self._at_last_beginning = 0
        self._is_known = True

    @property
    def tokens(self) -> int:
        """The most tokens that the conversation has."""
        return self._read + self._sent - self._included

    def facts(self, own: Facts) -> Facts:
        """Return the facts of a response with what it takes from its session. `own`: those of its own settings."""
        return replace(
            own,
            reads_elsewhere=own.reads_elsewhere or self._refers or not self._is_known,
            paid_tools=own.paid_tools or self._setup.paid_tools,
            modifiers=own.modifiers or self._setup.modifiers,
        )

    def note(self, message: ClientMessage, size: int) -> None:
        """Add a message of the client, of `size` bytes, that is passed on."""
        self._sent += size // BYTES_PER_TOKEN + 1 if message.tokens is None else message.tokens
        if message.asks is Asks.SETTINGS:
            self._refers = self._refers or message.facts.reads_elsewhere
            self._setup = replace(
                self._setup,
                paid_tools=message.facts.paid_tools or self._setup.paid_tools,
                modifiers=message.facts.modifiers or self._setup.modifiers,
            )
        elif message.facts.reads_elsewhere:
            self._is_known = False

    def begin(self, *, is_requested: bool) -> int:
        """Return how much of what the client has sent a response reads for sure, which begins now.

        The model begins one that is not asked for at a moment of its own, before or after the last messages have
        arrived. All that were sent until the response before it began have.
        """
        included = self._sent if is_requested else self._at_last_beginning
        self._at_last_beginning = self._sent
        return included

    def count(self, usage: Usage, included: int | None) -> None:
        """Add a response by its tokens. `included`: as `begin` has returned it; None if it had an input of its own."""
        if included is None:
            self._read += usage.output_tokens or 0
        elif usage.input_tokens is not None:
            self._read = usage.input_tokens + (usage.output_tokens or 0)
            self._included, self._is_known = included, True

    def lose(self) -> None:
        """Note that a response has ended without its tokens, and may be a part of the conversation."""
        self._is_known = False
