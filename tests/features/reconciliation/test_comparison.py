"""What counts as a difference, and which reasons are named."""

import pytest

from wirekey.features.reconciliation.comparison import compare
from wirekey.features.reconciliation.usage import Group, UsedTokens

DAY = "2026-03-01"


def of(model="gpt-4o-mini", key="openai/1", day=DAY, **counts):
    return Group(day, model, key), UsedTokens(**counts)


def compared(recorded, reported, tolerance=0.01, **keys):
    return compare(recorded, reported, keys=keys.get("keys", {}), tolerance=tolerance)


def test_equal_counts_agree_and_snapshots_and_keys_are_added_up():
    recorded = [of(input_tokens=10, output_tokens=4), of(key="openai/2", input_tokens=20, output_tokens=6)]
    reported = [of("gpt-4o-mini-2024-07-18", "key_1", input_tokens=30, output_tokens=10)]
    [one] = compared(recorded, reported)
    assert (one.group, one.differs, one.reasons) == (Group(DAY, "gpt-4o-mini"), (), ())


def test_a_report_of_costs_is_compared_by_cost_alone():
    recorded = [of(input_tokens=10, output_tokens=4, cost_usd=1.0)]
    assert compared(recorded, [of(cost_usd=1.005)])[0].differs == ()
    [one] = compared(recorded, [of(cost_usd=1.5)])
    assert one.differs == ("cost_usd",)
    assert any("discounts" in reason for reason in one.reasons)


@pytest.mark.parametrize(("reported", "differs"), [(0.019, ()), (0.0201, ("cost_usd",))])
def test_a_cent_is_no_difference(reported, differs):
    assert compared([of(cost_usd=0.01)], [of(cost_usd=reported)])[0].differs == differs


def test_a_report_without_models_is_compared_by_day():
    recorded = [of("nova-lite", cost_usd=1.0), of("claude-sonnet-4", cost_usd=2.0)]
    [one] = compared(recorded, [of("", "", cost_usd=3.0)])
    assert (one.group, one.differs) == (Group(DAY), ())


def test_keys_are_compared_if_their_ids_are_given():
    recorded = [of(input_tokens=10), of(key="openai/2", input_tokens=20)]
    reported = [of(key="key_1", input_tokens=10), of(key="key_2", input_tokens=25)]
    found = compared(recorded, reported, keys={"openai/1": "key_1", "openai/2": "key_2"})
    assert [(one.group.key, one.differs) for one in found] == [("key_1", ()), ("key_2", ("input_tokens",))]


def test_more_in_the_report_names_uncounted_calls_and_other_programs():
    [one] = compared([of(input_tokens=10, requests=2, uncounted=1)], [of(input_tokens=100, requests=5)])
    assert one.reasons[0] == "1 recorded calls have no token counts, such as calls that broke off"
    assert one.reasons[1] == "3 requests did not pass through Wirekey: another program has a key"


def test_less_in_the_report_names_its_delay():
    [one] = compared([of(input_tokens=100)], [of(input_tokens=10)])
    assert one.reasons == ("the report is not complete yet, or the calls were billed on the next day",)


def test_a_model_that_only_one_side_has_is_compared_with_nothing():
    found = compared([of("gpt-4o", input_tokens=5)], [of("o3", input_tokens=7)])
    assert [(one.group.model, one.differs) for one in found] == [
        ("gpt-4o", ("input_tokens",)),
        ("o3", ("input_tokens",)),
    ]
    assert "no such call passed through Wirekey" in found[1].reasons[0]


def test_nothing_and_nothing_agree():
    assert compared([], []) == []
