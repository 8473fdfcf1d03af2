"""The comment of a flow: one marker for the outcome of its call, and one short line of names and counts."""

from types import SimpleNamespace

import pytest
from mitmproxy.utils.emoji import emoji

from tests.support.recorded_calls import call_of, finish
from wirekey.core.call import Outcome
from wirekey.core.operation import Facts
from wirekey.features.flow_views.comment import LONGEST, OURS, comment_of, marker_of

ASKED = "alice | openai chat.completions | gpt-4o -> gpt-4o-mini"
QUIET = Facts("gpt-4o", False, 1, False, False, 0, None)


@pytest.mark.parametrize(
    ("outcome", "marker"),
    [
        (None, ":ocean:"),
        (Outcome.COMPLETED, ":white_check_mark:"),
        (Outcome.DENIED, ":no_entry:"),
        (Outcome.CLIENT_CANCELLED, ":wave:"),
        (Outcome.INTERRUPTED, ":wave:"),
        (Outcome.UPSTREAM_ERROR, ":x:"),
        (Outcome.UPSTREAM_RESET, ":x:"),
        (Outcome.TRUNCATED, ":x:"),
        (Outcome.TIMEOUT, ":x:"),
    ],
)
def test_each_outcome_has_its_marker(outcome, marker):
    assert marker_of(call_of(outcome=outcome)) == marker


def test_a_running_call_that_does_not_stream_has_another_marker():
    assert marker_of(call_of(facts=QUIET)) == ":hourglass_flowing_sand:"


def test_all_markers_are_known_to_mitmproxy():
    assert set(emoji) >= OURS


@pytest.mark.parametrize(
    ("call", "comment"),
    [
        (
            finish(call_of()),
            f"allow | {ASKED} | stream | completed 200 | stop | 10 input, 20 output | $0.250000",
        ),
        (
            finish(call_of(model="gpt-4o", facts=QUIET), usage=None, cost_usd=None),
            "allow | alice | openai chat.completions | gpt-4o | completed 200",
        ),
        (
            call_of(
                policy_result="deny",
                policy_reason="policy_denied: alice asked for the plan",
                outcome=Outcome.DENIED,
                status=403,
                simulated=True,
            ),
            f"deny | {ASKED} | stream | denied 403 | policy_denied | simulated",
        ),
        (call_of(agent=None, operation=None, facts=None, model=None, policy_result=None), ""),
    ],
    ids=["completed", "without usage", "denied", "nothing known"],
)
def test_the_comment_has_the_known_facts_and_only_the_code_of_a_reason(call, comment):
    assert comment_of(call) == comment


def test_text_chosen_by_a_client_is_escaped_and_truncated():
    long = SimpleNamespace(id="a\nb\u202e" + "x" * 1000, role=None, type=None)
    call = finish(call_of(), agent=long, model="m\x1b[31m" * 200, policy_reason="y" * 1000)
    comment = comment_of(call)
    assert len(comment) <= LONGEST
    assert comment.isascii()
    assert comment.isprintable()
    assert "a\\nb\\u202e" in comment
