"""Metrics of several workers as one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from wirekey.features.metrics.merging import Merged, report_of


def worker(calls: int, seconds: list[float], ready: float, connections: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("wirekey_calls_total", "Calls.", ["outcome"], registry=registry).labels("completed").inc(calls)
    histogram = Histogram("wirekey_seconds", "Times.", buckets=(0.1, 1.0), registry=registry)
    for value in seconds:
        histogram.observe(value)
    Gauge("wirekey_ready", "Ready.", ["part"], registry=registry).labels("audit").set(ready)
    Gauge("wirekey_client_connections", "Connections.", registry=registry).set(connections)
    Gauge("wirekey_simulated", "Simulated.", registry=registry).set(1)
    return registry


def test_counts_are_added_and_facts_about_all_workers_are_not():
    reports = [report_of(worker(3, [0.05], 1, 7)), report_of(worker(4, [0.5, 5.0], 0, 2))]
    lines = generate_latest(Merged(reports)).decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['wirekey_calls_total{outcome="completed"}'] == "7.0"
    assert values['wirekey_seconds_bucket{le="0.1"}'] == "1.0"
    assert values['wirekey_seconds_bucket{le="1.0"}'] == "2.0"
    assert values['wirekey_seconds_bucket{le="+Inf"}'] == values["wirekey_seconds_count"] == "3.0"
    assert values["wirekey_seconds_sum"] == "5.55"
    assert values['wirekey_ready{part="audit"}'] == "0.0"
    assert values["wirekey_client_connections"] == "9.0"
    assert values["wirekey_simulated"] == "1.0"
    assert len([line for line in lines if line.startswith("# TYPE")]) == len(
        {line for line in lines if "# TYPE" in line}
    )


def test_the_stage_of_load_shedding_is_that_of_the_busiest_worker():
    reports = []
    for stage in (1, 3, 2):
        registry = CollectorRegistry()
        Gauge("wirekey_load_shedding_stage", "Stage.", registry=registry).set(stage)
        reports.append(report_of(registry))
    assert "wirekey_load_shedding_stage 3.0" in generate_latest(Merged(reports)).decode().splitlines()


def test_one_worker_is_shown_as_it_is():
    registry = worker(3, [0.05], 1, 7)
    assert generate_latest(Merged([report_of(registry)])) == generate_latest(registry)
