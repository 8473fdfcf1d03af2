"""Labels of a call: verified ones hide those of headers, and nothing that is not accepted is shown in part."""

import pytest

from wirekey.core.call import Agent, Call
from wirekey.core.labels import MOST, NONE, NOTHING, UNVERIFIED, FoundLabels, Labels, checked, combined

UUID = "3f0c9a52-6a5e-4a8e-9a53-0d8f0d3f7a11"


def test_a_verified_label_hides_the_header_of_the_same_name():
    labels = combined((("team", "search"),), checked([("team", "ads"), ("session", UUID)]))
    assert labels == Labels({"team": "search"}, {"session": UUID})


def test_a_verified_label_also_hides_an_invalid_header():
    assert combined((("team", "search"),), checked([("team", "two words")])) == Labels({"team": "search"})


def test_no_header_takes_the_place_of_an_invalid_claim():
    agent = Agent("alice", invalid_labels=("team",))
    assert Call(agent=agent, header_labels=checked([("team", "search")])).labels == Labels(invalid=("team",))


def test_a_call_without_labels_shares_one_value():
    assert Call().labels is NONE
    assert Call(agent=Agent("alice")).labels is NONE
    assert not NONE


def test_the_labels_of_a_call_are_those_of_its_agent_and_its_headers():
    call = Call(agent=Agent("alice", labels=(("team", "search"),)), header_labels=checked([("session", "s1")]))
    assert call.labels == Labels({"team": "search"}, {"session": "s1"})


@pytest.mark.parametrize("value", ["x" * 64, UUID, "a/b:c@d+e-f.g_h", "7", "00f067aa0ba902b7"])
def test_values_of_the_alphabet_are_accepted(value):
    assert checked([("team", value)]) == FoundLabels((("team", value),))


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 65, "two words", "caf\u00e9", "-x", "a=b", "x\n", "{}", f"x{UNVERIFIED}", "wk_abcdefgh12"]
)
def test_other_values_are_absent_and_named_as_invalid(value):
    assert checked([("team", value), ("run", "r1")]) == FoundLabels((("run", "r1"),), ("team",))


def test_two_different_values_of_one_label_are_invalid():
    assert checked([("session", "a"), ("session", "a")]).accepted == (("session", "a"),)
    assert checked([("session", "a"), ("session", "b")]) == FoundLabels((), ("session",))


def test_more_labels_than_allowed_are_invalid_and_verified_ones_come_first():
    verified = tuple((f"v{number:02}", "x") for number in range(10))
    labels = combined(verified, checked([(f"h{number:02}", "x") for number in range(10)]))
    assert dict(labels.verified) == dict(verified)
    assert list(labels.unverified) == [f"h{number:02}" for number in range(MOST - 10)]
    assert labels.invalid == ("h06", "h07", "h08", "h09")


def test_no_headers_and_no_labels_of_the_agent_are_no_labels():
    assert combined((), NOTHING) is NONE
