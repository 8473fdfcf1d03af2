"""The accounts that log in to Wirekey: read, watched, and refreshed once for all calls and all processes."""

import asyncio
import time
from dataclasses import replace

import pytest

from wirekey.core.credentials.google.tokens import NoTokenError
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.account_files import AccountFiles
from wirekey.features.google_accounts.accounts import GoogleAccount
from wirekey.features.google_accounts.stored_accounts import StoredAccounts


@pytest.fixture
def files(tmp_path):
    return AccountFiles(tmp_path / "accounts")


@pytest.fixture
def add(files, google):
    def add(account_id="ann", lifetime=3600.0, **more):
        tokens = google.log_in(f"{account_id}@example.com")
        account = GoogleAccount(
            account_id,
            email=f"{account_id}@example.com",
            access_token=Secret(tokens["access_token"]),
            refresh_token=Secret(tokens["refresh_token"]),
            expiry_date=int((time.time() + lifetime) * 1000),
        )
        files.add(replace(account, **more))
        return account

    return add


@pytest.fixture
def accounts(files, settings):
    return StoredAccounts(files, settings, 300.0)


async def until(condition):
    """Wait for a file that a thread writes."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_hundred_calls_when_a_token_has_ended_make_one_refresh(accounts, add, google, files):
    add(lifetime=-1)
    accounts.check()
    google.go_on.clear()
    calls = [asyncio.create_task(accounts.source("ann").token()) for _ in range(100)]
    await until(lambda: google.grants)
    google.go_on.set()
    tokens = await asyncio.gather(*calls)
    assert google.grants == ["refresh_token"]
    assert len({token.access_token.reveal() for token in tokens}) == 1
    assert files.get("ann").access_token == tokens[0].access_token
    accounts.check()
    assert await accounts.source("ann").token() is tokens[0]


async def test_two_processes_make_one_refresh_of_an_account(accounts, add, google, files, settings):
    add(lifetime=-1)
    other = StoredAccounts(files, settings, 300.0)
    accounts.check()
    other.check()
    one, another = await asyncio.gather(accounts.source("ann").token(), other.source("ann").token())
    assert one.access_token == another.access_token
    assert google.grants == ["refresh_token"]


async def test_each_refresh_uses_the_refresh_token_of_the_one_before(accounts, add, google, files):
    first = add(lifetime=-1)
    accounts.check()
    google.lifetime = 1.0  # ended at once, as clocks differ
    async with asyncio.timeout(60):
        while len(google.grants) < 3:
            with pytest.raises(NoTokenError, match="as soon as it was issued"):
                await accounts.source("ann").token()
            await asyncio.sleep(0.05)
    assert files.get("ann").refresh_token != first.refresh_token
    assert list(google.refresh_tokens) == [files.get("ann").refresh_token.reveal()]


async def test_a_refresh_token_that_google_does_not_replace_is_kept(accounts, add, google, files):
    first = add(lifetime=-1)
    google.rotates = False
    accounts.check()
    await accounts.source("ann").token()
    assert files.get("ann").refresh_token == first.refresh_token


async def test_a_login_that_has_ended_needs_another_one_and_the_file_says_so(accounts, add, google, files, caplog):
    add(lifetime=-1)
    google.end_logins()
    accounts.check()
    for _ in range(3):
        with pytest.raises(NoTokenError, match="wirekey accounts update ann") as error:
            await accounts.source("ann").token()
        accounts.check()
    assert error.value.reason == "needs_login"
    assert google.grants == ["refresh_token"]
    assert files.get("ann").needs_login
    tokens = google.log_in("ann@example.com")
    files.change(
        "ann",
        lambda old: replace(
            old,
            access_token=Secret(tokens["access_token"]),
            refresh_token=Secret(tokens["refresh_token"]),
            expiry_date=None,
            needs_login=False,
        ),
    )
    accounts.check()
    assert (await accounts.source("ann").token()).access_token == Secret(tokens["access_token"])
    assert not [secret for secret in google.issued if secret in caplog.text]


async def test_a_token_server_that_fails_ends_no_login(accounts, add, google, files):
    add(lifetime=-1)
    google.fail_with = 503
    accounts.check()
    with pytest.raises(NoTokenError, match="503") as error:
        await accounts.source("ann").token()
    assert error.value.reason == "unavailable"
    assert not files.get("ann").needs_login


async def test_a_token_that_google_rejects_twice_ends_the_login_here_in_spite_of_the_changed_file(
    accounts, add, google
):
    add()
    accounts.check()
    source = accounts.source("ann")
    source.rejected(await source.token())
    second = await source.token()
    accounts.check()  # the refresh has changed the file
    source.rejected(second)
    with pytest.raises(NoTokenError, match="Google rejects the tokens of ann"):
        await source.token()
    accounts.check()
    with pytest.raises(NoTokenError, match="Google rejects the tokens of ann"):
        await source.token()
    assert google.grants == ["refresh_token"]


async def test_added_changed_and_removed_accounts_are_followed(accounts, add, files):
    accounts.check()
    assert accounts.accounts() == []
    with pytest.raises(NoTokenError, match="wirekey accounts add") as error:
        accounts.source("ann")
    assert error.value.reason == "no_account"
    add("bob")
    add("ann", project_id="p")
    accounts.check()
    assert [account.account_id for account in accounts.accounts()] == ["ann", "bob"]
    assert (await accounts.source("ann").token()).project_id == "p"
    files.change("ann", lambda old: replace(old, project_id="other"))
    accounts.check()
    assert (await accounts.source("ann").token()).project_id == "other"
    source = accounts.source("bob")
    files.remove("bob")
    accounts.check()
    with pytest.raises(NoTokenError, match="was removed"):
        await source.token()
    assert [account.account_id for account in accounts.accounts()] == ["ann"]


async def test_a_broken_file_leaves_the_login_in_use(accounts, add, files, caplog):
    account = add()
    accounts.check()
    files.path("ann").write_text("{")
    accounts.check()
    assert (await accounts.source("ann").token()).access_token == account.access_token
    assert "The previous login stays in use" in caplog.text


async def test_project_limit_reason_and_use_are_kept_in_the_file(accounts, add, files):
    add()
    add("bob", project_id="by-hand", project_set=True)
    accounts.check()
    accounts.keep_project("ann", "looked-up")
    accounts.keep_project("bob", "looked-up")
    accounts.mark_invalid("bob", "Verify your account.")
    accounts.note_limit("ann", 2_000_000_000.0, "quota of the day")
    accounts.note_limit("ann", 1_900_000_000.0, "a limit of another model that ends earlier")
    accounts.note_use("ann")
    assert (await accounts.source("ann").token()).project_id == "looked-up"
    assert next(one.last_used for one in accounts.accounts())
    await accounts.end()
    ann, bob = files.get("ann"), files.get("bob")
    assert (ann.project_id, ann.limited_until, ann.limited_by) == ("looked-up", 2_000_000_000_000, "quota of the day")
    assert ann.last_used
    assert (bob.project_id, bob.invalid, bob.last_used) == ("by-hand", "Verify your account.", None)


async def test_a_token_that_ends_soon_is_replaced_without_a_call(accounts, add, google, files):
    account = add(lifetime=200)
    accounts.check()
    await until(lambda: files.get("ann").access_token != account.access_token)
    assert google.grants == ["refresh_token"]
