"""Counts the responses within sessions, and their tokens by modality, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.audit.event import count
from wirekey.core.observing.conventions import OTHER
from wirekey.features.metrics.tallies import CounterFamily

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from wirekey.core.call import Call

AUDIO, NOT_AUDIO = "audio", "other"
"""Modalities. Providers report the tokens of audio, and of everything together."""


class SessionMetrics:
    """A call observer that counts what sessions respond. All labels have few values, whatever clients send."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.responses = CounterFamily(
            "wirekey_session_responses_total",
            "Responses within sessions that ended, by outcome.",
            ("provider", "outcome"),
            registry,
        )
        self.tokens = CounterFamily(
            "wirekey_session_tokens_total",
            "Tokens within sessions by modality: `audio`, or `other` such as text.",
            ("provider", "gen_ai_token_type", "modality"),
            registry,
        )

    def began(self, call: Call) -> None:
        """Do nothing: `OpenSessions` knows what is open."""

    def ended(self, call: Call) -> None:
        """Count a response within a session, and its tokens."""
        if call.parent_id is None:
            return
        provider = call.provider or ""
        if call.intent_recorded:
            self.responses.labels(provider, call.outcome.value if call.outcome else OTHER).value += 1
        if usage := call.usage:
            self.add(provider, "input", count(usage.input_tokens), count(usage.audio_input_tokens))
            self.add(provider, "output", count(usage.output_tokens), count(usage.audio_output_tokens))

    def add(self, provider: str, kind: str, total: int | None, audio: int | None) -> None:
        """Add tokens, if their number is known. Those that are not known to be audio are other ones."""
        if total is None:
            return
        heard = min(audio or 0, total)
        self.tokens.labels(provider, kind, AUDIO).value += heard
        self.tokens.labels(provider, kind, NOT_AUDIO).value += total - heard
