"""A call at a glance: one marker for how it ended, one short line of names and counts."""

from types import SimpleNamespace

import pytest
from mitmproxy.utils.emoji import emoji

from tests.audit.calls import call_of, finish
from wirekey.call import Outcome
from wirekey.observing.flow_comment import LONGEST, OURS, comment_of, marker_of
from wirekey.operation import Facts

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
def test_each_way_to_end_has_its_marker(outcome, marker):
    assert marker_of(call_of(outcome=outcome)) == marker


def test_a_call_under_way_that_does_not_stream_has_another():
    assert marker_of(call_of(facts=QUIET)) == ":hourglass_flowing_sand:"


def test_mitmproxy_knows_all_markers():
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
def test_the_comment_says_what_is_known_and_of_a_reason_its_code(call, comment):
    assert comment_of(call) == comment


def test_what_a_stranger_chose_is_escaped_and_cut():
    long = SimpleNamespace(id="a\nb\u202e" + "x" * 1000, role=None, type=None)
    call = finish(call_of(), agent=long, model="m\x1b[31m" * 200, policy_reason="y" * 1000)
    comment = comment_of(call)
    assert len(comment) <= LONGEST
    assert comment.isascii()
    assert comment.isprintable()
    assert "a\\nb\\u202e" in comment
