"""The output that calls are expected to have, by the last ones of their kind."""

import pytest

from wirekey.core.operation import Usage
from wirekey.features.quotas import expected_output
from wirekey.features.quotas.expected_output import (
    ENOUGH,
    SAMPLES,
    START,
    CallKind,
    Output,
    OutputEstimates,
    percentile,
)

KIND = CallKind("alice", "gpt-5-mini", "chat.completions")


def estimates(*outputs: Output) -> OutputEstimates:
    found = OutputEstimates()
    for output in outputs:
        found.note(KIND, output)
    return found


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ([], 0),
        ([7], 7),
        ([1, 2], 2),
        ([*range(1, 10)], 9),
        ([*range(1, 11)], 9),
        ([*range(1, 12)], 10),
        ([10] * 9 + [5000], 10),
        ([10] * 8 + [5000] * 2, 5000),
    ],
)
def test_nine_of_ten_do_not_exceed_the_percentile(amounts, expected):
    assert percentile(amounts) == percentile(amounts[::-1]) == expected


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([], Output(START)),
        ([Output(10)] * (ENOUGH - 1), Output(START)),
        ([Output(10)] * ENOUGH, Output(10)),
        ([Output(START + 1)], Output(START + 1)),
        ([Output(10, 300)], Output(START, 300)),
        ([Output(10, 300)] * ENOUGH, Output(10, 300)),
        ([Output(5000)] * SAMPLES + [Output(10)] * SAMPLES, Output(10)),
    ],
    ids=["none", "few", "enough", "few, but long", "hidden, few", "hidden", "the last ones count"],
)
def test_a_call_is_expected_to_be_as_long_as_the_last_ones_of_its_kind(outputs, expected):
    assert estimates(*outputs).expected(KIND) == expected


def test_calls_of_another_kind_say_nothing():
    found = estimates(*[Output(10)] * ENOUGH)
    for other in (KIND._replace(agent="bob"), KIND._replace(model="gpt-5"), KIND._replace(operation="responses")):
        assert found.expected(other) == Output(START)


def test_the_kind_without_a_call_for_the_longest_time_is_forgotten(monkeypatch):
    monkeypatch.setattr(expected_output, "MOST_KINDS", 2)
    found = OutputEstimates()
    kinds = [KIND._replace(agent=agent) for agent in ("alice", "bob", "carol")]
    for kind in (kinds[0], kinds[1], kinds[0], kinds[2]):
        found.note(kind, Output(5000))
    assert [found.expected(kind).shown for kind in kinds] == [5000, START, 5000]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [(Usage(9, 3000), Output(3000)), (Usage(9, 3000, reasoning_tokens=1000), Output(2000, 1000)), (Usage(9), None)],
)
def test_the_output_of_a_response_is_noted_if_it_was_counted(usage, expected):
    found = OutputEstimates()
    found.note_usage(KIND, usage)
    assert found.expected(KIND) == (expected or Output(START))


def test_more_reasoning_than_output_counts_as_no_other_output():
    found = OutputEstimates()
    for _ in range(ENOUGH):
        found.note_usage(KIND, Usage(output_tokens=5, reasoning_tokens=9))
    assert found.expected(KIND) == Output(0, 9)
