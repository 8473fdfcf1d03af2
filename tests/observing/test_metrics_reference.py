"""The reference page says what is registered."""

import re
from pathlib import Path

from tests.observing.exposition import Scraped
from wirekey.observing.reference import families, page

FILE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_page_is_as_made_from_what_is_registered():
    assert FILE.read_text(encoding="utf-8") == page(), f"run: python -m wirekey.observing.reference > {FILE.name}"


def test_what_a_process_says_live_is_what_the_page_says(served):
    """Without their labels, which a metric that has no series yet does not show."""
    served.chat()
    live = {family.name: family.type for family in served.scrape().families if not family.name.startswith("process_")}
    assert live == {family.name: family.type for family, _ in families()}


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "metrics.md"


def test_the_lines_that_the_guide_shows_are_of_series_that_exist(served):
    before = served.scrape().total("wirekey_calls_total")
    served.chat()
    served.chat("forbidden-model")
    live = served.scrape_of(before + 2)
    shown = re.search(r"^```text\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    samples = Scraped(shown[1]).samples
    assert len(samples) > 5
    for sample in samples:
        assert live.value(sample.name, **sample.labels) is not None


def test_the_guide_says_what_to_do_about_each_alert():
    rules = re.findall(r"- alert: (\w+)", (GUIDE.parents[1] / "alerts.yaml").read_text(encoding="utf-8"))
    told = re.findall(r"`(Wirekey\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert sorted(rules) == sorted(told)
