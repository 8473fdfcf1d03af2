"""A backend's accounts: which one a call uses, which ones rest, and the one lookup of a project that calls share."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from wirekey.core.call import FailureKind
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.errors import Refusal
from wirekey.core.model_name import ModelName
from wirekey.core.routing.accounts import check_account, with_accounts
from wirekey.core.routing.candidate import Candidate, Failover, Upstream
from wirekey.core.routing.plan import Failure, RetryPlan
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.accounts import GoogleAccount
from wirekey.features.google_accounts.code_assist.backend import BackendSettings, CodeAssist
from wirekey.features.google_accounts.code_assist.limits import CoolDown
from wirekey.features.google_accounts.code_assist.projects import FoundProject, ProjectError
from wirekey.features.google_accounts.code_assist.several_logins import SeveralLogins

PRO, FLASH = "gemini-2.5-pro", "gemini-2.5-flash"
TOKEN = UsableToken(Secret("ya29.canary"), "a")


class Accounts:
    """Three accounts that can be used."""

    def __init__(self, *ids, error=None):
        self.ids, self.error = list(ids), error
        self.rejections, self.invalid, self.projects, self.used = [], {}, {}, []
        self.limits = []

    def usable(self):
        return self.ids

    def source(self, account_id):
        async def token():
            if self.error:
                raise self.error
            return TOKEN

        return SimpleNamespace(token=token, rejected=self.rejections.append)

    def note_use(self, account_id):
        self.used.append(account_id)

    def keep_project(self, account_id, project_id):
        self.projects[account_id] = project_id

    def mark_invalid(self, account_id, reason):
        self.invalid[account_id] = reason

    def note_limit(self, account_id, until, reason):
        self.limits.append((account_id, round(until - time.time(), -1), reason))

    def reason_for_none(self):
        return "Run `wirekey accounts add`."


class Projects:
    def __init__(self, *, error=None):
        self.error, self.asked = error, 0

    async def find(self, token, project, *, free):
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return FoundProject("found-1")


def backend_of(*ids, selection="round-robin", fallback=None, error=None, lookup_error=None, **more):
    settings = BackendSettings("gemini-oauth-auto", Upstream("h"), "ua", fallback=fallback, selection=selection, **more)
    backend = CodeAssist(settings)
    backend.open(Accounts(*ids, error=error), Projects(error=lookup_error))
    return backend


def plan_of(backend, model=PRO, session=None, attempts=5):
    candidate = Candidate("gemini", "account", backend.upstream, backend=backend.name, accounts=backend)
    return RetryPlan(with_accounts([candidate], model, fixed=False), Failover(attempts, 60.0, 0.0), session)


def limited(backend, plan, attempt, status=429):
    """Note a limit as the hooks do, and return the next attempt."""
    backend.note_status(attempt.candidate.pool, attempt.key, TOKEN, status, None)
    return plan.after(Failure(FailureKind.STATUS, status), time.monotonic())


def used(attempt):
    return attempt.key.label.partition("/")[2]


FIRST_CALLS = {
    "round-robin": ["a", "b", "c", "a"],
    "first-available": ["a", "a", "a", "a"],
    "session-affinity": ["a", "a", "a", "a"],
}


@pytest.mark.parametrize("selection", FIRST_CALLS)
def test_a_strategy_chooses_among_healthy_accounts(selection):
    backend = backend_of("a", "b", "c", selection=selection)
    chosen = [used(plan_of(backend, session="alice").start(time.monotonic())) for _ in range(4)]
    assert chosen == FIRST_CALLS[selection]


@pytest.mark.parametrize("selection", ["round-robin", "random", "first-available", "session-affinity"])
def test_two_limited_accounts_of_three_leave_the_third_in_every_strategy(selection):
    backend = backend_of("a", "b", "c", selection=selection)
    plan = plan_of(backend, session="alice")
    first = plan.start(time.monotonic())
    second = limited(backend, plan, first)
    third = limited(backend, plan, second)
    assert {used(first), used(second), used(third)} == {"a", "b", "c"}
    backend.note_status(third.candidate.pool, third.key, TOKEN, 200, None)
    again = plan_of(backend, session="alice").start(time.monotonic())
    assert used(again) == used(third)


def test_a_session_keeps_its_account_when_it_changes_the_model():
    backend = backend_of("a", "b", "c", selection="session-affinity")
    plan_of(backend, session="alice").start(time.monotonic())
    second = used(plan_of(backend, session="bob").start(time.monotonic()))
    assert second == "b"
    assert used(plan_of(backend, FLASH, session="bob").start(time.monotonic())) == second


def test_an_account_rests_for_one_model_only():
    backend = backend_of("a")
    plan = plan_of(backend)
    limited(backend, plan, plan.start(time.monotonic()))
    assert plan_of(backend).start(time.monotonic()).key is None
    assert plan_of(backend, FLASH).start(time.monotonic()).key is not None


def test_the_fallback_is_tried_once_after_every_account_was_limited():
    backend = backend_of("a", "b", fallback=FLASH)
    plan = plan_of(backend)
    attempts = [plan.start(time.monotonic())]
    while following := limited(backend, plan, attempts[-1]):
        attempts.append(following)
    sent = [(used(each), each.candidate.model.name if each.candidate.model else PRO) for each in attempts]
    assert sent[:3] == [("a", PRO), ("b", PRO), ("a", FLASH)]
    assert {model for _, model in sent[2:]} == {FLASH}
    assert len(sent) <= 4


@pytest.mark.parametrize("kind", [FailureKind.STATUS, FailureKind.CONNECT, FailureKind.RESET])
def test_the_fallback_is_not_for_other_failures(kind):
    backend = backend_of("a", fallback=FLASH)
    plan = plan_of(backend)
    plan.start(time.monotonic())
    assert plan.after(Failure(kind, 500 if kind is FailureKind.STATUS else None), time.monotonic()) is None


def test_there_is_no_fallback_from_itself_nor_from_a_model_that_the_policy_demands():
    backend = backend_of("a", fallback=FLASH)
    candidate = Candidate("gemini", "account", backend.upstream, accounts=backend)
    assert len(with_accounts([candidate], FLASH, fixed=False)) == 1
    assert len(with_accounts([candidate], PRO, fixed=True)) == 1
    assert with_accounts([candidate], PRO, fixed=False)[1].model == ModelName(FLASH)


def test_a_rejected_token_is_replaced_once():
    backend = backend_of("a")
    plan = plan_of(backend)
    first = plan.start(time.monotonic())
    second = limited(backend, plan, first, 401)
    assert second.key is first.key
    assert backend.accounts.rejections == [TOKEN]
    assert limited(backend, plan, second, 401) is None


@pytest.mark.parametrize(("ids", "status", "code"), [((), 503, "no_account"), (("a",), 429, "accounts_limited")])
def test_a_call_without_an_account_is_refused(ids, status, code):
    backend = backend_of(*ids)
    for key in backend.pool(PRO).keys:
        backend.pool(PRO).start_cool_down(key, CoolDown(90), time.monotonic())
    with pytest.raises(Refusal) as refused:
        check_account(plan_of(backend).start(time.monotonic()), PRO)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert status == 503 or 80 < refused.value.retry_after <= 90


def test_the_body_of_an_error_corrects_the_rest_that_its_status_began():
    backend = backend_of("a")
    pool = backend.pool(PRO)
    (key,) = pool.keys
    backend.note_status(pool, key, TOKEN, 429, None)
    assert 5 < pool.shortest_wait_now() <= 10
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    backend.note_error(pool, key, 429, None, json.dumps({"error": {"message": "", "details": [info]}}).encode())
    assert 30 < pool.shortest_wait_now() <= 34
    assert backend.accounts.limits == [("a", 30, f"429 for {PRO}")]
    backend.note_status(pool, key, TOKEN, 200, None)
    assert pool.shortest_wait_now() == 0


def test_an_overloaded_server_is_no_limit_of_the_account():
    backend = backend_of("a")
    pool = backend.pool(PRO)
    backend.note_error(pool, pool.keys[0], 503, None, b"")
    assert pool.shortest_wait_now() > 0
    assert backend.accounts.limits == []


def test_the_models_whose_rests_are_kept_are_limited():
    backend = backend_of("a")
    for number in range(2000):
        backend.pool(f"gemini-{number}")
    assert len(backend._pools) <= 256


async def test_a_hundred_first_calls_share_one_lookup_of_the_project():
    backend = backend_of("a")
    (key,) = backend.pool(PRO).keys
    found = await asyncio.gather(*(backend.ready(key) for _ in range(100)))
    assert {each.project for each in found} == {"found-1"}
    assert backend.projects.asked == 1
    assert backend.accounts.projects == {"a": "found-1"}


async def test_the_login_of_another_person_has_another_project():
    backend = backend_of("a")
    (key,) = backend.pool(PRO).keys
    source = backend.accounts.source
    for login in (0, 0, 1, 1):

        async def token(login=login):
            return replace(TOKEN, login=login)

        backend.accounts.source = lambda _, token=token: SimpleNamespace(token=token)
        await backend.ready(key)
    assert backend.projects.asked == 2
    backend.accounts.source = source


async def test_an_account_that_must_be_verified_is_invalid_and_others_go_on():
    error = ProjectError("Verify first.", invalid=True, url="https://accounts.google.com/verify")
    backend = backend_of("a", "b", lookup_error=error)
    key = backend.pool(PRO).keys[0]
    with pytest.raises(Refusal, match="no_account") as refused:
        await backend.ready(key)
    assert "https://accounts.google.com/verify" in refused.value.message
    assert "Verify first." in backend.accounts.invalid["a"]
    assert [each.label for each in backend.pool(PRO).keys] == ["gemini-oauth-auto/b"]
    with pytest.raises(Refusal):
        await backend.ready(key)
    assert backend.projects.asked == 1


async def test_a_login_that_has_ended_is_503_with_what_to_run():
    backend = backend_of("a", error=NoTokenError("needs_login", "Log in again: wirekey accounts update a"))
    with pytest.raises(Refusal) as refused:
        await backend.ready(backend.pool(PRO).keys[0])
    assert (refused.value.status, refused.value.code) == (503, "no_account")
    assert "wirekey accounts update a" in refused.value.message


async def test_a_project_that_is_set_is_never_looked_up():
    backend = backend_of("a", project_id="mine")
    assert (await backend.ready(backend.pool(PRO).keys[0])).project == "mine"
    assert backend.projects.asked == 0


def test_a_reload_keeps_which_accounts_rest():
    before, after = backend_of("a"), backend_of("a", selection="first-available")
    before.pool(PRO).start_cool_down(before.pool(PRO).keys[0], CoolDown(90), time.monotonic())
    after.carry_over(before)
    assert after.pool(PRO).shortest_wait_now() > 80
    assert after.pool(PRO).selection == "first-available"


def test_only_chosen_accounts_that_need_no_person_are_used():
    accounts = [
        GoogleAccount("a", access_token=Secret("t")),
        GoogleAccount("b", needs_login=True),
        GoogleAccount("c", access_token=Secret("t"), invalid="Verify first."),
        GoogleAccount("d", access_token=Secret("t")),
    ]
    tokens = SimpleNamespace(accounts=lambda: accounts)
    assert SeveralLogins(tokens).usable() == ["a", "d"]
    assert SeveralLogins(tokens, ("d", "x", "c", "a")).usable() == ["d", "a"]


def test_no_repr_has_a_token():
    backend = backend_of("a")
    assert "canary" not in repr([backend, backend.pool(PRO), plan_of(backend).start(time.monotonic())])
