"""Values that are measured of two systems in interleaved rounds, and their table."""

from __future__ import annotations

import statistics


class Measurements(dict[str, list[float]]):
    """By name, one value for each round."""

    def note(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)


def ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """Return the ratio of ours to theirs in each round, lowest first. Rounds are paired: noise meets both."""
    return sorted(mine / other for mine, other in zip(ours, theirs, strict=True))


def table(bare: Measurements, ours: Measurements) -> str:
    lines = [f"{'':<34}{'mitmdump':>12}{'wirekey':>12}{'ratio':>8}{'spread':>14}"]
    for name, values in bare.items():
        found = ratios(values, ours[name])
        first, second = statistics.median(values), statistics.median(ours[name])
        spread = f"{found[0]:.2f}-{found[-1]:.2f}"
        lines.append(f"{name:<34}{first:>12.3f}{second:>12.3f}{statistics.median(found):>8.2f}{spread:>14}")
    return "\n".join(lines)
