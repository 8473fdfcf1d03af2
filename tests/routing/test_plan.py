"""The attempts after each kind of failure, their order, and their end."""

import pytest

from wirekey.core.body import Body
from wirekey.core.call import FailureKind
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate, Failover, Upstream
from wirekey.core.routing.plan import Failure, RetryPlan, may_be_resent, one_attempt
from wirekey.core.secret import Secret

CONNECT, FIRST_BYTE, RESET = (Failure(FailureKind(kind)) for kind in ("connect", "first_byte", "reset"))
CORP = Upstream("llm.corp.example", configured=True)


def status(number, retry_after=None):
    return Failure(FailureKind.STATUS, number, retry_after)


def pool(*labels):
    return KeyPool([ProviderKey(label, Secret(f"key-{label}")) for label in labels])


def candidate(*labels, **more):
    return Candidate("openai", pool=pool(*labels), **more)


def played(plan, *failures, pause=0.0):
    """Run the plan with these failures; return the attempts: (place of the candidate, key), and `None` at the end.

    As the proxy does, each status is noted in the pool before the plan is asked.
    """
    now, shown = 0.0, []
    choice = plan.start(now)
    for failure in (*failures, None):
        place = plan.candidates.index(choice.candidate)
        shown.append((place, choice.key.label if choice.key else None))
        if failure is None:
            break
        now += choice.wait + pause
        if choice.key and failure.status:
            choice.candidate.pool.record_status(choice.key, failure.status, failure.retry_after, now)
        choice = plan.after(failure, now)
        if choice is None:
            return [*shown, None]
    return shown


@pytest.mark.parametrize("failure", [CONNECT, FIRST_BYTE, RESET, *map(status, (429, 500, 502, 503, 504, 529))])
def test_after_a_failure_comes_the_next_key_and_then_the_next_candidate(failure):
    plan = RetryPlan((candidate("a", "b"), candidate("c")), Failover(max_attempts=5, max_retry_after=0))
    assert played(plan, failure, failure, failure) == [(0, "a"), (0, "b"), (1, "c"), None]


@pytest.mark.parametrize("number", [400, 404, 409, 413, 422, 501])
def test_an_error_caused_by_the_request_is_not_retried(number):
    plan = RetryPlan((candidate("a", "b"), candidate("c")))
    assert played(plan, status(number)) == [(0, "a"), None]


@pytest.mark.parametrize("number", [401, 403])
def test_a_refused_key_leads_to_another_key_but_never_to_another_model(number):
    plan = RetryPlan((candidate("a", "b"), candidate("c")), Failover(max_attempts=5))
    assert played(plan, status(number, 0.5), status(number, 0.5)) == [(0, "a"), (0, "b"), None]


def test_attempts_are_counted_across_all_candidates():
    plan = RetryPlan((candidate("a", "b"), candidate("c", "d")), Failover(max_attempts=3))
    assert played(plan, *[RESET] * 3) == [(0, "a"), (0, "b"), (1, "c"), None]


def test_no_attempt_starts_after_the_time_budget():
    plan = RetryPlan((candidate("a", "b", "c"),), Failover(max_attempts=5, max_seconds=10))
    assert played(plan, RESET, RESET, pause=6.0) == [(0, "a"), (0, "b"), None]


def test_a_cooling_key_is_skipped_while_there_is_another_candidate():
    first = candidate("a", "b")
    first.pool.record_status(first.pool.keys[1], 429, 100, 0)
    assert played(RetryPlan((first, candidate("c"))), status(429)) == [(0, "a"), (1, "c")]


def test_a_cooling_key_is_used_if_nothing_else_is_left():
    only = candidate("a", "b")
    only.pool.record_status(only.pool.keys[1], 429, 100, 0)
    assert played(RetryPlan((only,)), status(500)) == [(0, "a"), (0, "b")]


def test_a_candidate_whose_keys_all_cool_down_comes_after_one_with_an_available_key():
    cooling = candidate("r")
    cooling.pool.record_status(cooling.pool.keys[0], 429, 100, 0)
    assert played(RetryPlan((candidate("a"), cooling, candidate("c"))), status(503)) == [(0, "a"), (2, "c")]
    assert played(RetryPlan((candidate("a"), cooling)), status(503)) == [(0, "a"), (1, "r")]


def test_a_candidate_without_a_key_is_tried_only_if_it_is_the_first():
    assert played(RetryPlan((candidate("a"), candidate(), candidate("c"))), RESET) == [(0, "a"), (2, "c")]
    assert played(RetryPlan((candidate(), candidate("c")))) == [(0, None)]


def test_a_candidate_with_another_credential_than_keys_is_tried_in_its_turn():
    other = Candidate("bedrock", pool=pool(), without_key=True)
    assert played(RetryPlan((candidate("a"), other, candidate("c"))), status(503)) == [(0, "a"), (1, None)]


@pytest.mark.parametrize("max_retry_after", [0, 2], ids=["never waits", "waits"])
def test_a_rejected_token_is_replaced_once(max_retry_after):
    own = Candidate("gemini", pool=pool(), without_key=True, renews_token=True)
    plan = RetryPlan((own, candidate("c")), Failover(max_attempts=5, max_retry_after=max_retry_after))
    assert played(plan, status(401), status(401)) == [(0, None), (0, None), None]
    alone = RetryPlan((own,), Failover(max_retry_after=max_retry_after))
    assert not alone.start(0).is_last, "the body is kept for the second attempt"
    assert played(RetryPlan((own,), Failover(max_attempts=1)), status(401)) == [(0, None), None]


def test_the_token_of_a_program_is_never_replaced():
    plan = RetryPlan((Candidate("gemini", "passthrough", pool=pool(), renews_token=True),))
    assert played(plan, status(401)) == [(0, None), None]


def test_a_candidate_that_needs_no_key_is_tried_without_one():
    plan = RetryPlan((candidate("a"), Candidate("openai", "none", CORP)))
    assert played(plan, RESET) == [(0, "a"), (1, None)]


def test_the_same_key_is_tried_for_another_model():
    shared = pool("a")
    plan = RetryPlan((Candidate("gemini", pool=shared), Candidate("gemini", pool=shared)))
    assert played(plan, status(429, 30)) == [(0, "a"), (1, "a")]


def test_an_unreachable_upstream_is_not_retried_with_other_keys_if_there_is_another():
    plan = RetryPlan((candidate("a", "b", upstream=CORP), candidate("c")))
    assert played(plan, CONNECT) == [(0, "a"), (1, "c")]
    assert played(RetryPlan((candidate("a", "b", upstream=CORP),)), CONNECT) == [(0, "a"), (0, "b")]


@pytest.mark.parametrize(
    ("retry_after", "tried"),
    [
        (1.5, [(0, "a"), (0, "a"), None]),
        (2.5, [(0, "a"), None]),
        (None, [(0, "a"), None]),
    ],
)
def test_a_short_retry_after_is_waited_for_once_if_nothing_else_is_left(retry_after, tried):
    plan = RetryPlan((candidate("a"),), Failover(max_attempts=5, max_retry_after=2))
    assert played(plan, *[status(429, retry_after)] * (len(tried) - 1)) == tried


def test_a_pause_follows_an_overloaded_upstream_but_not_an_exhausted_key():
    for number, wait in ((503, 1.0), (529, 1.0), (429, 0.0)):
        plan = RetryPlan((candidate("a", "b"),))
        plan.start(0)
        choice = plan.after(status(number, 1.0), 0)
        assert (choice.key.label, choice.wait) == ("b", wait)


def test_a_pause_that_would_exceed_the_time_budget_is_skipped():
    plan = RetryPlan((candidate("a"),), Failover(max_seconds=1, max_retry_after=5))
    assert played(plan, status(429, 2.0)) == [(0, "a"), None]


@pytest.mark.parametrize(
    ("plan", "last"),
    [
        (RetryPlan((candidate("a"),), Failover(max_retry_after=0)), [True]),
        (RetryPlan((candidate("a"),), Failover(max_attempts=1)), [True]),
        (RetryPlan((candidate("a", "b"),), Failover(max_retry_after=0)), [False, True]),
        (RetryPlan((candidate("a"), candidate("b")), Failover(max_retry_after=0)), [False, True]),
        (RetryPlan((candidate("a"),), Failover(max_retry_after=2)), [False, True]),
    ],
)
def test_the_last_attempt_is_marked(plan, last):
    choices = [plan.start(0)]
    while choice := plan.after(status(429, 1.0), 0):
        choices.append(choice)
    assert [choice.is_last for choice in choices] == last


def test_a_session_keeps_its_key_across_calls():
    keys = KeyPool([ProviderKey(name, Secret(f"key-{name}")) for name in "abc"], selection="session-affinity")
    for session, label in (("x", "a"), ("y", "b"), ("x", "a"), ("z", "c"), ("y", "b")):
        assert RetryPlan((Candidate("openai", pool=keys),), session=session).start(0).key.label == label


INFERENCE, LISTING, STORAGE = Kind.INFERENCE, Kind.LISTING, Kind.STORAGE


@pytest.mark.parametrize(
    ("name", "kind", "method", "kept", "resent"),
    [
        ("chat.completions", INFERENCE, "POST", True, True),
        ("models.list", LISTING, "GET", True, True),
        ("files.get", STORAGE, "GET", True, True),
        ("files.delete", STORAGE, "DELETE", True, False),
        ("batches.create", STORAGE, "POST", True, False),
        ("cachedContents.update", STORAGE, "PATCH", True, False),
        ("files.create", STORAGE, "POST", False, False),
        ("transcriptions", INFERENCE, "POST", False, False),
        ("predictLongRunning", INFERENCE, "POST", True, False),
    ],
)
def test_only_a_kept_request_without_side_effects_is_resent(name, kind, method, kept, resent):
    assert may_be_resent(Operation(name, Body.JSON, kind), method, kept=kept) is resent


def test_a_limit_of_one_attempt_allows_one_attempt():
    assert played(RetryPlan((candidate("a", "b"), candidate("c")), one_attempt(Failover())), RESET) == [(0, "a"), None]
