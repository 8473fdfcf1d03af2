"""The reference page lists the registered metrics."""

import re
from pathlib import Path

from tests.features.metrics.exposition import Scraped
from wirekey.features.metrics.reference import families, page

FILE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def test_the_page_is_generated_from_the_registered_metrics():
    assert FILE.read_text(encoding="utf-8") == page(), (
        f"run: python -m wirekey.features.metrics.reference > {FILE.name}"
    )


def test_the_metrics_of_a_running_process_are_those_of_the_page(served):
    """Labels are not compared, because a metric without series does not show them."""
    served.chat()
    live = {family.name: family.type for family in served.scrape().families if not family.name.startswith("process_")}
    assert live == {family.name: family.type for family, _ in families()}


GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "metrics.md"


def test_the_lines_shown_in_the_guide_are_of_existing_series(served):
    before = served.scrape().total("wirekey_calls_total")
    served.chat()
    served.chat("forbidden-model")
    live = served.scrape_of(before + 2)
    shown = re.search(r"^```text\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    samples = Scraped(shown[1]).samples
    assert len(samples) > 5
    for sample in samples:
        assert live.value(sample.name, **sample.labels) is not None


def test_the_guide_covers_each_alert():
    rules = re.findall(r"- alert: (\w+)", (GUIDE.parents[1] / "alerts.yaml").read_text(encoding="utf-8"))
    told = re.findall(r"`(Wirekey\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert sorted(rules) == sorted(told)
