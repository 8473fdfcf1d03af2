"""A scrape, read as a dashboard reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    @property
    def labels(self) -> dict[str, set[str]]:
        """Return the labels of each series, by its name."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the series with exactly these labels, apart from empty ones, or None."""
        wanted = {key: value for key, value in labels.items() if value}
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and {key: value for key, value in sample.labels.items() if value} == wanted
        ]
        assert len(found) < 2
        return found[0] if found else None

    def total(self, name: str, **labels: str) -> float:
        """Add up all series of this name with these labels and any others."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )
