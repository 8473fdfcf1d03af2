"""Calls by listed labels, as /metrics has them."""

from prometheus_client import CollectorRegistry

from tests.support.recorded_calls import call_of, finish
from wirekey.core.labels import checked
from wirekey.features.metrics.label_metrics import MAX_VALUES, LabelMetrics


class Counted:
    """Metrics by the label `team`."""

    def __init__(self, *names):
        self.registry = CollectorRegistry()
        self.metrics = LabelMetrics(self.registry, lambda: names)

    def call(self, verified=None, sent=None):
        found = checked([("team", sent)] if sent else [])
        self.metrics.ended(finish(call_of(labels=(("team", verified),) if verified else (), header_labels=found)))

    def value(self, value, verified="true", name="calls", **more):
        labels = {"label": "team", "value": value, "verified": verified, **more}
        return self.registry.get_sample_value(f"wirekey_label_{name}_total", labels)

    def samples(self):
        return [sample for metric in self.registry.collect() for sample in metric.samples]


def test_without_the_setting_no_label_is_counted():
    counted = Counted()
    counted.call("search", "ads")
    assert counted.samples() == []


def test_calls_tokens_and_cost_are_counted_by_a_listed_label():
    counted = Counted("team")
    counted.call("search")
    counted.call("search", sent="ads")  # the verified label hides the other one
    counted.call(sent="search")
    counted.call()
    ended = {"outcome": "completed"}
    assert counted.value("search", **ended) == 2
    assert counted.value("search", "false", **ended) == 1
    assert counted.value("_NONE", "", **ended) == 1
    assert counted.value("ads", "false", **ended) is None
    assert counted.value("search", name="tokens", gen_ai_token_type="input") == 20
    assert counted.value("search", name="cost_usd") == 0.5


def test_the_number_of_values_is_bounded_and_clients_cannot_displace_verified_ones():
    counted = Counted("team")
    for number in range(MAX_VALUES + 50):
        counted.call(sent=f"invented-{number}")
    counted.call("search")
    of_calls = [each for each in counted.samples() if each.name == "wirekey_label_calls_total"]
    assert len(of_calls) == MAX_VALUES + 2
    assert counted.value("_OTHER", "false", outcome="completed") == 50
    assert counted.value("search", outcome="completed") == 1
