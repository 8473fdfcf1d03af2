"""The operator's token, links made from it, and sessions."""

from __future__ import annotations

import stat

import pytest

from wirekey.core.identity.throttle import FREE
from wirekey.features.console import operator_token
from wirekey.features.console.operator_token import LINK_LIFETIME, OperatorTokenError, ReloadedToken, link_code
from wirekey.features.console.sessions import IDLE, LIFETIME, MAX_SESSIONS, SignInError, SignInSessions

NOW = 1_800_000_000.0
HERE = "127.0.0.1"


@pytest.fixture
def token(tmp_path):
    return operator_token.ensure(tmp_path)


@pytest.fixture
def sessions(tmp_path, token):
    return SignInSessions(ReloadedToken(tmp_path))


def begin(sessions, presented, ticks=0.0, now=NOW, address=HERE):
    return sessions.begin(presented, address, ticks, now)


def refused(sessions, presented, **at):
    with pytest.raises(SignInError) as raised:
        begin(sessions, presented, **at)
    return raised.value.status


def test_the_token_is_made_once_and_only_its_owner_can_read_it(tmp_path, token):
    file = tmp_path / operator_token.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert operator_token.ensure(tmp_path) == token
    assert len(token.reveal()) >= 43
    assert operator_token.rotate(tmp_path) != token


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe" * 40, b"wk_" + b"x" * 43])
def test_a_file_without_a_token_is_reported_with_a_fix(tmp_path, content):
    (tmp_path / operator_token.FILE).write_bytes(content)
    with pytest.raises(OperatorTokenError, match="console-token"):
        operator_token.ensure(tmp_path)


def test_the_token_signs_in_and_the_session_has_a_secret_of_its_own(sessions, token):
    cookie = begin(sessions, token.reveal())
    assert sessions.holds(cookie, 1.0)
    assert token.reveal() not in cookie
    assert cookie not in repr(vars(sessions))


def test_a_link_works_once(sessions, token):
    code = link_code(token, NOW)
    assert sessions.holds(begin(sessions, code), 0.0)
    assert refused(sessions, code) == 401


def test_a_link_expires_after_five_minutes_and_its_expiry_cannot_be_changed(sessions, token):
    code = link_code(token, NOW)
    assert refused(sessions, code, now=NOW + LINK_LIFETIME) == 401
    ends, signature = code.split(".", 1)
    assert refused(sessions, f"{int(ends) + 9999}.{signature}") == 401
    assert begin(sessions, code, now=NOW + LINK_LIFETIME - 1)


WRONG = ["", ".", "..", "x", "wkc_", "1.2.3", "9999999999999.x." + "0" * 64, "ü" * 40, "\udcff", "x" * 100_000, "١.x.y"]


@pytest.mark.parametrize("presented", WRONG)
def test_a_value_that_is_neither_token_nor_link_is_refused(sessions, presented):
    assert refused(sessions, presented) == 401


def test_a_session_expires_when_idle_and_after_twelve_hours_in_any_case(sessions, token):
    idle, busy = begin(sessions, token.reveal()), begin(sessions, token.reveal())
    ticks = 0.0
    while ticks + IDLE / 2 < LIFETIME:
        ticks += IDLE / 2
        assert sessions.holds(busy, ticks)
    assert not sessions.holds(idle, ticks)
    assert not sessions.holds(busy, LIFETIME)
    assert not sessions.holds(busy, 0.0)


def test_signing_out_ends_only_that_session(sessions, token):
    one, other = begin(sessions, token.reveal()), begin(sessions, token.reveal())
    sessions.end(one)
    assert (sessions.holds(one, 0.0), sessions.holds(other, 0.0)) == (False, True)


def test_a_new_token_ends_all_sessions_and_links(sessions, token, tmp_path):
    cookie, code = begin(sessions, token.reveal()), link_code(token, NOW)
    latest = operator_token.rotate(tmp_path)
    assert not sessions.holds(cookie, 0.0)
    assert refused(sessions, token.reveal()) == 401
    assert refused(sessions, code) == 401
    assert begin(sessions, latest.reveal())


def test_without_a_token_no_session_is_valid(sessions, token, tmp_path):
    cookie = begin(sessions, token.reveal())
    (tmp_path / operator_token.FILE).unlink()
    assert not sessions.holds(cookie, 0.0)
    assert refused(sessions, token.reveal()) == 503
    assert refused(sessions, "") == 503
    (tmp_path / operator_token.FILE).write_text("rubbish")
    assert refused(sessions, token.reveal()) == 503
    assert not sessions.holds(cookie, 0.0)


def test_guessing_is_slowed_and_the_right_token_still_works(sessions, token):
    found = [refused(sessions, f"guess {number}") for number in range(FREE + 3)]
    assert found == [401] * FREE + [429] * 3
    assert begin(sessions, token.reveal())
    assert refused(sessions, "guess") == 401


def test_sessions_are_bounded_and_the_oldest_is_dropped(sessions, token):
    cookies = [begin(sessions, token.reveal()) for _ in range(MAX_SESSIONS + 1)]
    assert [sessions.holds(cookie, 0.0) for cookie in (cookies[0], cookies[1], cookies[-1])] == [False, True, True]


@pytest.mark.parametrize("cookie", [None, "", "x", "\udcff"])
def test_an_unknown_cookie_is_not_a_session(sessions, cookie):
    assert not sessions.holds(cookie, 0.0)
    sessions.end(cookie)
