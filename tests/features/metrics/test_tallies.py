"""Tallies are collected as the metrics of prometheus_client are."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics

from wirekey.features.metrics.tallies import CounterFamily, HistogramFamily

BOUNDS = (0.001, 0.25, 1.0, 4096, 67108864)


@pytest.fixture
def registries():
    disable_created_metrics()
    return CollectorRegistry(), CollectorRegistry()


@pytest.mark.parametrize("form", [generate_latest, generate_open_metrics])
@pytest.mark.parametrize("labels", [(), ("agent",), ("provider", "outcome")])
def test_counters_are_exposed_as_those_of_the_library(registries, labels, form):
    ours, theirs = registries
    count = CounterFamily("wirekey_calls_total", "Calls that ended.", labels, ours)
    reference = Counter("wirekey_calls_total", "Calls that ended.", labels, registry=theirs)
    chance = random.Random(1)
    for _ in range(50):
        values = tuple(chance.choice(["a", 'quoted "b"\n', "\\"]) for _ in labels)
        amount = chance.choice([1, 2.5, 1e9, 0.1])
        count.labels(*values).value += amount
        (reference.labels(*values) if labels else reference).inc(amount)
    assert form(ours) == form(theirs)


@pytest.mark.parametrize("form", [generate_latest, generate_open_metrics])
@pytest.mark.parametrize("labels", [(), ("provider", "outcome")])
def test_histograms_are_exposed_as_those_of_the_library(registries, labels, form):
    ours, theirs = registries
    histogram = HistogramFamily("wirekey_seconds", "Time.", labels, BOUNDS, ours)
    reference = Histogram("wirekey_seconds", "Time.", labels, buckets=BOUNDS, registry=theirs)
    chance = random.Random(2)
    for _ in range(200):
        values = tuple(chance.choice("ab") for _ in labels)
        value = chance.choice([0, *BOUNDS, chance.random(), 1e12])
        histogram.labels(*values).observe(value)
        (reference.labels(*values) if labels else reference).observe(value)
    assert form(ours) == form(theirs)


def test_a_metric_without_a_value_is_exposed_with_its_help(registries):
    ours, theirs = registries
    CounterFamily("wirekey_calls_total", "Calls.", ("agent",), ours)
    Counter("wirekey_calls_total", "Calls.", ("agent",), registry=theirs)
    assert generate_latest(ours) == generate_latest(theirs)


def test_metrics_can_be_collected_in_a_thread_while_they_are_updated(registries):
    ours, _ = registries
    counts = CounterFamily("wirekey_calls_total", "Calls.", ("agent",), ours)
    with ThreadPoolExecutor(1) as thread:
        collecting = thread.submit(lambda: [generate_latest(ours) for _ in range(100)])
        number = 0
        while not collecting.done():
            number += 1
            counts.labels(str(number % 500)).value += 1
    assert collecting.result()
    assert sum(sample.value for sample in next(iter(counts.collect())).samples) == number
