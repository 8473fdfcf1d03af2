"""One access token is kept good: one refresh for all callers, in the background while the old one is good."""

import asyncio
import threading

import pytest

from wirekey.core.credentials.google.token_cache import TokenCache
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.secret import Secret


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class TokenServer:
    """Issues `ya29.canary-1`, `-2`, … for an hour or `lifetime` each, or fails as told."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.issued, self.failure = clock, 0, None
        self.lifetime = 3600
        self.may_respond = threading.Event()
        self.may_respond.set()

    def renew(self, _: UsableToken | None) -> UsableToken:
        self.may_respond.wait(20)
        self.issued += 1
        if self.failure:
            raise self.failure
        return UsableToken(Secret(f"ya29.canary-{self.issued}"), "ann", expires=self.clock.now + self.lifetime)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    return TokenServer(clock)


@pytest.fixture
def cache(server, clock):
    return TokenCache("ann", server.renew, buffer=300, clock=clock)


async def refreshed(cache):
    while cache._refresh:
        await asyncio.shield(cache._refresh)


async def test_a_hundred_calls_at_the_end_of_a_token_share_one_refresh(cache, server, clock):
    await cache.token()
    clock.now += 3600
    tokens = await asyncio.gather(*(cache.token() for _ in range(100)))
    assert server.issued == 2
    assert {token.access_token.reveal() for token in tokens} == {"ya29.canary-2"}


async def test_a_token_that_ends_soon_is_used_while_another_is_fetched(cache, server, clock):
    await cache.token()
    clock.now += 3600 - 299
    server.may_respond.clear()
    assert (await cache.token()).access_token == Secret("ya29.canary-1")
    server.may_respond.set()
    await refreshed(cache)
    assert (await cache.token()).access_token == Secret("ya29.canary-2")


async def test_a_token_is_not_replaced_before_the_buffer(cache, server, clock):
    await cache.token()
    clock.now += 3600 - 301
    cache.keep_good()
    assert cache._refresh is None


async def test_a_new_token_that_is_due_already_is_replaced_after_30_seconds(cache, server, clock):
    server.lifetime = 240
    for _ in range(90):  # with many calls each second
        for _ in range(5):
            await cache.token()
            await refreshed(cache)
        clock.now += 1
    assert server.issued == 3


async def test_a_token_that_the_metadata_server_issues_again_is_not_fetched_again_and_again(server, clock):
    class MetadataServer(TokenServer):
        """Issues the same token until four minutes before its end, as Google's does."""

        ends = clock.now + 3600

        def renew(self, _):
            self.issued += 1
            if clock.now >= self.ends - 240:
                self.ends = clock.now + 3600
            return UsableToken(Secret(f"ya29.canary-{self.ends}"), "ann", expires=self.ends)

    metadata = MetadataServer(clock)
    cache = TokenCache("ann", metadata.renew, buffer=300, clock=clock)
    for _ in range(3600):
        await cache.token()
        await refreshed(cache)
        clock.now += 1
    assert metadata.issued == 4  # at the start, and 300, 270 and 240 seconds before the end


async def test_a_token_that_ends_within_the_wait_is_replaced_when_it_has_ended(cache, server, clock):
    server.lifetime = 20
    first = await cache.token()
    clock.now += 15
    assert (await cache.token()).access_token != first.access_token


async def test_a_token_that_has_ended_when_it_is_issued_is_asked_for_once_a_second(cache, server, clock):
    server.lifetime = 0
    for _ in range(10):
        with pytest.raises(NoTokenError, match="as soon as it was issued"):
            await cache.token()
    assert server.issued == 1
    clock.now += 1
    server.lifetime = 3600
    await cache.token()
    assert server.issued == 2


async def test_a_rejected_token_that_was_due_is_replaced_at_once(cache, server):
    server.lifetime = 240
    first = await cache.token()
    cache.rejected(first)
    assert (await cache.token()).access_token != first.access_token


async def test_a_token_server_that_fails_is_asked_again_after_1_2_4_to_60_seconds(cache, server, clock):
    server.failure = NoTokenError("unavailable", "It does not respond.")
    waits, since, issued = [], clock.now, 0
    while len(waits) < 9:
        with pytest.raises(NoTokenError, match="It does not respond"):
            await cache.token()
        if server.issued > issued:
            waits.append(clock.now - since)
            since, issued = clock.now, server.issued
        clock.now += 0.5
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_the_old_token_stays_in_use_while_its_refresh_fails(cache, server, clock):
    await cache.token()
    clock.now += 3600 - 100
    server.failure = NoTokenError("unavailable", "It does not respond.")
    for _ in range(3):
        assert (await cache.token()).access_token == Secret("ya29.canary-1")
        await refreshed(cache)
    assert server.issued == 2


async def test_a_login_that_has_ended_is_not_refreshed_again_until_there_is_another_token(cache, server, clock):
    server.failure = NoTokenError("needs_login", "Log in again: wirekey accounts update ann")
    for _ in range(3):
        with pytest.raises(NoTokenError, match="accounts update ann"):
            await cache.token()
        clock.now += 3600
    assert server.issued == 1
    cache.replace(UsableToken(Secret("ya29.other"), "ann"))
    assert (await cache.token()).access_token == Secret("ya29.other")


async def test_a_rejected_token_is_replaced_once_and_then_the_login_rests(cache, server):
    first = await cache.token()
    for _ in range(20):
        cache.rejected(first)
    second = await cache.token()
    assert second.access_token == Secret("ya29.canary-2")
    cache.rejected(first)  # a slow call with the token of before
    assert await cache.token() is second
    cache.rejected(second)
    with pytest.raises(NoTokenError) as error:
        await cache.token()
    assert error.value.reason == "needs_login"
    assert server.issued == 2


async def test_credentials_that_may_be_repaired_elsewhere_are_tried_again_after_a_while(server, clock):
    cache = TokenCache("ann", server.renew, buffer=300, clock=clock, repair="Check the account.")
    cache.rejected(await cache.token())
    cache.rejected(await cache.token())
    for _ in range(3):
        with pytest.raises(NoTokenError, match=r"rejects its own new tokens, too\. Check the account") as error:
            await cache.token()
        assert error.value.reason == "unavailable"
    assert server.issued == 2
    clock.now += 2
    assert (await cache.token()).access_token == Secret("ya29.canary-3")


async def test_a_rejection_long_after_another_is_a_new_one(cache, server, clock):
    for _ in range(4):
        cache.rejected(await cache.token())
        clock.now += 600
    assert server.issued == 4


async def test_a_token_of_a_file_that_arrives_during_a_refresh_wins(cache, server):
    server.may_respond.clear()
    waiting = asyncio.create_task(cache.token())
    await asyncio.sleep(0)
    cache.replace(UsableToken(Secret("ya29.of-the-file"), "ann"))
    server.may_respond.set()
    assert (await waiting).access_token == Secret("ya29.of-the-file")


async def test_a_refresh_that_fails_after_a_token_of_a_file_arrived_says_nothing_of_it(cache, server, caplog):
    server.may_respond.clear()
    server.failure = NoTokenError("needs_login", "Log in again.")
    waiting = asyncio.create_task(cache.token())
    await asyncio.sleep(0)
    cache.replace(UsableToken(Secret("ya29.of-the-file"), "ann"))
    server.may_respond.set()
    assert (await waiting).access_token == Secret("ya29.of-the-file")
    assert "Log in again" not in caplog.text


async def test_a_token_that_is_good_gets_another_project_without_a_refresh(cache, server):
    cache.keep_with_project("too-early")
    assert cache.current is None
    first = await cache.token()
    cache.keep_with_project(first.project_id)
    assert cache.current is first
    cache.keep_with_project("other")
    assert (cache.current.access_token, cache.current.project_id) == (first.access_token, "other")
    assert server.issued == 1


async def test_the_last_token_is_known_even_if_it_is_not_good_any_more(cache):
    assert not cache.has(None)
    first = await cache.token()
    cache.rejected(first)
    assert cache.current is None
    assert cache.has(first.access_token)
    assert not cache.has(Secret("ya29.other"))


async def test_a_rejected_token_is_replaced_without_a_call(cache, server):
    first = await cache.token()
    cache.rejected(first)
    cache.keep_good()
    await refreshed(cache)
    assert cache.current.access_token == Secret("ya29.canary-2")
    assert server.issued == 2


async def test_a_rejection_while_the_token_server_fails_does_not_shorten_the_wait(cache, server, clock):
    first = await cache.token()
    clock.now += 3400
    server.failure = NoTokenError("unavailable", "Google does not respond")
    assert await cache.token() is first
    await refreshed(cache)
    cache.rejected(first)
    with pytest.raises(NoTokenError, match="does not respond"):
        await cache.token()
    assert server.issued == 2
    clock.now += 1
    server.failure = None
    assert (await cache.token()).access_token == Secret("ya29.canary-3")


async def test_an_error_of_wirekey_itself_is_no_token_and_shows_nothing(cache, server, caplog):
    server.failure = ValueError("ya29.canary")
    with pytest.raises(NoTokenError) as error:
        await cache.token()
    assert "canary" not in str(error.value)
    assert "canary" not in caplog.text
    assert "ValueError" in caplog.text


async def test_a_token_is_in_no_repr(cache):
    assert "canary" not in repr(await cache.token())
