"""The health of accounts: their states, and why none can be used."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from wirekey.core.routing.account_health import AccountState
from wirekey.core.routing.candidate import Upstream
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.accounts import AccountStatus, GoogleAccount
from wirekey.features.google_accounts.code_assist.backend import BackendSettings, CodeAssist
from wirekey.features.google_accounts.code_assist.health import trouble
from wirekey.features.google_accounts.code_assist.limits import CoolDown
from wirekey.features.google_accounts.code_assist.several_logins import SeveralLogins
from wirekey.features.google_accounts.code_assist.single_login import SingleLogin

TOKEN = Secret("ya29.canary")
ACCOUNTS = (
    GoogleAccount("a", access_token=TOKEN),
    GoogleAccount("b", access_token=TOKEN),
    GoogleAccount("c", needs_login=True),
    GoogleAccount("d", access_token=TOKEN, expiry_date=1),
    GoogleAccount("e", access_token=TOKEN, invalid="Verify first."),
)


def backend_of(accounts=ACCOUNTS, chosen=None):
    backend = CodeAssist(BackendSettings("gemini-oauth-auto", Upstream("h"), "ua"))
    backend.open(SeveralLogins(SimpleNamespace(accounts=lambda: accounts), chosen), None)
    return backend


def rest(backend, model, account, seconds):
    pool = backend.pool(model)
    key = next(key for key in pool.keys if key.label.endswith(f"/{account}"))
    pool.start_cool_down(key, CoolDown(seconds), time.monotonic())


def test_an_account_that_is_limited_for_one_model_rests_as_long_as_for_the_longest_one():
    backend = backend_of()
    rest(backend, "gemini-2.5-pro", "a", 90)
    rest(backend, "gemini-2.5-flash", "a", 30)
    found = {each.label.partition("/")[2]: each for each in backend.health(time.monotonic())}
    assert {name: each.state.value for name, each in found.items()} == {
        "a": "limited", "b": "usable", "c": "needs_login", "d": "needs_login", "e": "invalid",
    }  # fmt: skip
    assert 80 < found["a"].limited_for <= 90
    assert found["b"].limited_for == 0


def test_only_the_configured_accounts_are_counted():
    found = backend_of(chosen=("b", "unknown", "c")).health(time.monotonic())
    assert [each.label for each in found] == ["gemini-oauth-auto/b", "gemini-oauth-auto/c"]


def test_an_account_that_google_does_not_serve_is_invalid_for_a_single_login_too():
    login = SingleLogin(SimpleNamespace(account_id="login-file"))
    assert login.statuses() == {"login-file": AccountStatus.VALID}
    login.mark_invalid("login-file", "Verify first.")
    assert login.statuses() == {"login-file": AccountStatus.INVALID}


TROUBLES = {
    "nothing": ([], "it has no account"),
    "one usable": (["usable", "invalid"], None),
    "one of each": (
        ["limited", "needs_login", "invalid"],
        "none of its accounts can be used: 1 is limited by Google, 1 needs a login, 1 is not served by Google",
    ),
    "several": (
        ["limited", "limited", "needs_login", "needs_login"],
        "none of its accounts can be used: 2 are limited by Google, 2 need a login",
    ),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_why_no_account_can_be_used(what):
    states, expected = TROUBLES[what]
    assert trouble([SimpleNamespace(state=AccountState(state)) for state in states]) == expected
