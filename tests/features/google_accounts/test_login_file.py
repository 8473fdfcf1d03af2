"""The login file of another program: found, checked, watched, refreshed in memory, and never written."""

import json
import os
import sys
import time

import pytest

from wirekey.core.credentials.google.tokens import NoTokenError
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.login_file import (
    COMMAND_LIMIT,
    LoginFileError,
    LoginFileTokens,
    find_login_file,
    read_login_file,
)

HOUR = 3600


def login(google, lifetime=HOUR, **more):
    tokens = google.log_in("ann@example.com")
    return tokens | {"expiry_date": int((time.time() + lifetime) * 1000)} | more


@pytest.fixture
def path(tmp_path):
    return tmp_path / "oauth_creds.json"


@pytest.fixture
def write(path):
    def write(content):
        path.write_text(json.dumps(content) if isinstance(content, dict) else content)
        return content

    return write


async def test_the_token_of_the_file_is_used(google, settings, path, write):
    content = write(login(google))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    token = await tokens.token()
    assert token.access_token == Secret(content["access_token"])
    assert token.expires == content["expiry_date"] / 1000
    assert google.grants == []


@pytest.mark.parametrize("way", ["rewritten", "renamed"])
async def test_a_changed_file_is_in_use_at_the_next_check(google, settings, path, write, way):
    write(login(google))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    later = login(google)
    if way == "rewritten":
        write(later)
    else:
        beside = path.with_name("new.json")
        beside.write_text(json.dumps(later))
        beside.rename(path)
    tokens.check()
    assert (await tokens.token()).access_token == Secret(later["access_token"])


async def test_another_login_has_another_number_and_a_refreshed_one_has_not(google, settings, path, write):
    """The number says that the project may be another one."""
    first = write(login(google))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    for content, number in ((first | {"access_token": "ya29.next"}, 0), (login(google), 1)):
        write(content)
        tokens.check()
        token = await tokens.token()
        assert (token.access_token, token.login) == (Secret(content["access_token"]), number)


async def test_the_previous_login_stays_while_the_file_is_half_written(google, settings, path, write, caplog):
    content = write(login(google))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    later = login(google)
    text = json.dumps(later)
    for end in (0, 1, len(text) // 2, len(text) - 1):
        path.write_text(text[:end])
        tokens.check()
        assert (await tokens.token()).access_token == Secret(content["access_token"])
    path.unlink()
    tokens.check()
    assert (await tokens.token()).access_token == Secret(content["access_token"])
    path.write_text(text)
    tokens.check()
    assert (await tokens.token()).access_token == Secret(later["access_token"])
    assert "The previous login stays in use" in caplog.text
    assert not [secret for secret in google.issued if secret in caplog.text]


async def test_a_token_that_has_ended_is_refreshed_in_memory_and_the_file_stays(google, settings, path, write):
    content = write(login(google, lifetime=-1))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    token = await tokens.token()
    assert google.person_of(token.access_token.reveal()) == "ann@example.com"
    assert json.loads(path.read_text()) == content
    # The program has touched its file. The refresh token in memory is newer than that of the file.
    os.utime(path, (1, 1))
    tokens.check()
    assert await tokens.token() is token
    tokens.rejected(token)
    assert google.person_of((await tokens.token()).access_token.reveal())
    assert google.grants == ["refresh_token", "refresh_token"]


async def test_a_login_that_google_has_ended_says_what_to_do_and_a_new_file_mends_it(google, settings, path, write):
    write(login(google, lifetime=-1))
    google.end_logins()
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    for _ in range(3):
        with pytest.raises(NoTokenError, match="Log in again with the program that made it") as error:
            await tokens.token()
    assert error.value.reason == "needs_login"
    assert google.grants == ["refresh_token"]
    later = write(login(google))
    tokens.check()
    assert (await tokens.token()).access_token == Secret(later["access_token"])


async def test_a_login_whose_new_tokens_are_rejected_too_says_what_to_do(google, settings, path, write):
    write(login(google))
    tokens = LoginFileTokens(path, settings)
    tokens.load()
    for _ in range(2):
        tokens.rejected(await tokens.token())
    with pytest.raises(NoTokenError, match="Log in again with the program that made ") as error:
        await tokens.token()
    assert error.value.reason == "needs_login"
    assert str(path) in str(error.value)


async def test_without_an_oauth_client_the_other_programs_own_refresh_is_run(google, settings, path, write):
    from dataclasses import replace

    write(login(google, lifetime=-1))
    later = login(google)
    source = f"open({str(path)!r}, 'w').write({json.dumps(later)!r}); print('canary of a program')"
    tokens = LoginFileTokens(path, replace(settings, client=None), (sys.executable, "-c", source))
    tokens.load()
    assert (await tokens.token()).access_token == Secret(later["access_token"])
    assert google.grants == []


@pytest.mark.parametrize("command", [("/does/not/exist",), (sys.executable, "-c", "pass")], ids=["absent", "idle"])
async def test_a_refresh_command_that_does_not_help_is_reported_and_not_run_again_at_once(
    google, settings, path, write, command
):
    from dataclasses import replace

    write(login(google, lifetime=-1))
    tokens = LoginFileTokens(path, replace(settings, client=None), command)
    tokens.load()
    with pytest.raises(NoTokenError, match="refresh command") as error:
        await tokens.token()
    assert error.value.reason == "unavailable"
    assert tokens._ran_at > time.monotonic() - COMMAND_LIMIT


async def test_without_a_client_and_a_command_the_error_says_what_to_do(google, settings, path, write):
    from dataclasses import replace

    write(login(google, lifetime=-1))
    tokens = LoginFileTokens(path, replace(settings, client=None))
    tokens.load()
    with pytest.raises(NoTokenError, match=r"or set google\.oauth_client"):
        await tokens.token()


async def test_without_a_file_calls_fail_until_it_appears(google, settings, path, write):
    tokens = LoginFileTokens(path, settings)
    with pytest.raises(LoginFileError, match=r"does not exist\. Log in with the program"):
        tokens.load()
    with pytest.raises(NoTokenError, match="does not exist") as error:
        await tokens.token()
    assert error.value.reason == "no_account"
    content = write(login(google))
    tokens.check()
    assert (await tokens.token()).access_token == Secret(content["access_token"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("{}", "has neither an access_token nor a refresh_token. Log in again with the program"),
        ('{"access_token": "canary", "expiry_date": "x"}', "expiry_date that is not a time"),
        (" " * 70_000, "larger than 64 KiB"),
    ],
    ids=["empty", "no tokens", "no time", "large"],
)
def test_a_file_that_cannot_be_used_is_reported_with_the_fix(path, write, content, message):
    write(content)
    with pytest.raises(LoginFileError, match=message) as error:
        read_login_file(path)
    assert str(path) in str(error.value)
    assert "canary" not in str(error.value)


def test_the_file_is_found_in_the_usual_places(tmp_path):
    first, second = tmp_path / ".gemini/oauth_creds.json", tmp_path / ".config/gemini-cli/oauth_creds.json"
    assert find_login_file(None, tmp_path) == first
    second.parent.mkdir(parents=True)
    second.write_text("{}")
    assert find_login_file(None, tmp_path) == second
    first.parent.mkdir()
    first.write_text("{}")
    assert find_login_file(None, tmp_path) == first
    assert find_login_file(first.parent, tmp_path) == first
    assert find_login_file(second, tmp_path) == second
