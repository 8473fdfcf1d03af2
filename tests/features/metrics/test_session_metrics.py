"""Tokens and responses of open sessions, as /metrics has them."""

from prometheus_client import CollectorRegistry

from tests.observing.test_open_sessions import opened, responded
from wirekey.core.call import Outcome
from wirekey.core.operation import Usage
from wirekey.features.metrics.session_metrics import SessionMetrics


def test_tokens_are_counted_by_modality():
    registry = CollectorRegistry()
    metrics = SessionMetrics(registry)
    call = opened(metrics)
    responded(metrics, call, Usage(10, 20, audio_input_tokens=4, audio_output_tokens=30))
    responded(metrics, call, Usage(5, None))
    responded(metrics, call, outcome=Outcome.DENIED, intent=False)
    metrics.ended(call)

    def tokens(kind, modality):
        labels = {"provider": "openai", "gen_ai_token_type": kind, "modality": modality}
        return registry.get_sample_value("wirekey_session_tokens_total", labels)

    assert [tokens("input", "audio"), tokens("input", "other")] == [4, 11]
    assert [tokens("output", "audio"), tokens("output", "other")] == [20, 0]
    responses = {"provider": "openai", "outcome": "completed"}
    assert registry.get_sample_value("wirekey_session_responses_total", responses) == 2
    denied = {"provider": "openai", "outcome": "denied"}
    assert registry.get_sample_value("wirekey_session_responses_total", denied) is None
