"""AWS credentials: concurrent calls share one lookup, renewal is timely, and the last valid credentials are kept."""

import asyncio
import threading
from collections import Counter

import pytest

from wirekey.core.call import Agent
from wirekey.core.credentials import aws
from wirekey.core.credentials.aws import AwsCredentialCache, CredentialsUnavailable, ExpiringCredentials
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials

ALICE, BOB = Agent("alice", "dev"), Agent("bob")
HOUR = 3600.0
PATIENCE = 60


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


class Source:
    """A source of numbered credentials that last `lifetime` seconds. It fails with `error`, and waits if asked to."""

    def __init__(self, clock, *, per_agent=True, lifetime=HOUR):
        self.clock, self.per_agent, self.lifetime = clock, per_agent, lifetime
        self.fetched = Counter()
        self.error = None
        self.forgotten = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def fetch(self, agent):
        with self.lock:
            self.fetched[agent.id if agent else None] += 1
            number = self.fetched.total()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert threading.current_thread() is not threading.main_thread()
        assert self.go_on.wait(PATIENCE)
        with self.lock:
            self.at_once -= 1
        if self.error:
            raise self.error
        expires = None if self.lifetime is None else self.clock.now + self.lifetime
        return ExpiringCredentials(SigV4Credentials(f"AKIA{number}", Secret("s"), Secret("t")), expires)

    def forget(self):
        self.forgotten += 1


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(clock):
    return Source(clock)


@pytest.fixture
def credentials(source, clock):
    return AwsCredentialCache(source, now=clock)


async def settled(credentials):
    """Wait for the running lookups."""
    while credentials._in_progress:
        await asyncio.wait(credentials._in_progress, timeout=PATIENCE)


async def test_nothing_is_looked_up_before_the_first_call(credentials, source):
    assert credentials.current(ALICE) is None
    await asyncio.sleep(0)
    assert not source.fetched


async def test_credentials_are_available_immediately_after_the_first_lookup(credentials, source):
    found = await credentials.fetch(ALICE)
    assert credentials.current(ALICE) is found
    assert await credentials.fetch(ALICE) is found
    assert source.fetched == {"alice": 1}


async def test_each_agent_has_its_own_session_if_a_role_is_assumed(credentials, source):
    assert (await credentials.fetch(ALICE)) is not (await credentials.fetch(BOB))
    await credentials.fetch(Agent("alice", "admin"))
    await credentials.fetch(None)
    assert source.fetched == {"alice": 2, "bob": 1, None: 1}


async def test_all_agents_share_credentials_if_no_role_is_assumed(credentials, source):
    source.per_agent = False
    found = await credentials.fetch(ALICE)
    assert credentials.current(BOB) is found
    assert credentials.current(None) is found


async def test_concurrent_calls_share_one_lookup_that_does_not_block_the_loop(credentials, source):
    source.go_on.clear()
    waiting = [asyncio.create_task(credentials.fetch(ALICE)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    source.go_on.set()
    assert len({id(found) for found in await asyncio.gather(*waiting)}) == 1
    assert source.fetched == {"alice": 1}


async def test_a_disconnected_client_does_not_cancel_the_lookup_of_others(credentials, source):
    source.go_on.clear()
    first, second = (asyncio.create_task(credentials.fetch(ALICE)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    source.go_on.set()
    assert (await second).access_key == "AKIA1"
    assert source.fetched == {"alice": 1}


async def test_concurrent_lookups_for_many_agents_are_limited(credentials, source):
    source.go_on.clear()
    waiting = [asyncio.create_task(credentials.fetch(Agent(f"agent-{n}"))) for n in range(20)]
    while source.at_once < aws.SEARCHES:
        await asyncio.sleep(0.001)
    source.go_on.set()
    await asyncio.gather(*waiting)
    assert source.most_at_once == aws.SEARCHES


@pytest.mark.parametrize(
    ("lifetime", "renewed_after"),
    [
        # seconds
        (HOUR, HOUR - 840),
        (6 * HOUR, 6 * HOUR - 840),
        (900, 600),
        (None, 300),
    ],
)
async def test_credentials_are_renewed_before_they_expire_while_the_previous_ones_are_used(
    credentials, source, clock, lifetime, renewed_after
):
    source.lifetime = lifetime
    begun = clock.now
    first = await credentials.fetch(ALICE)
    for moment, searches in ((renewed_after - 1, 1), (renewed_after, 2)):
        clock.now = begun + moment
        assert credentials.current(ALICE) is first
        await settled(credentials)
        assert source.fetched.total() == searches
    assert credentials.current(ALICE).access_key == "AKIA2"


async def test_credentials_are_not_used_in_their_last_minute(credentials, source, clock):
    await credentials.fetch(ALICE)
    source.error = CredentialsUnavailable("STS is away.")
    clock.now += HOUR - aws.MARGIN - 1
    assert credentials.current(ALICE)
    await settled(credentials)
    clock.now += 1
    assert credentials.current(ALICE) is None


async def test_the_last_valid_credentials_are_used_while_the_renewal_fails(credentials, source, clock):
    first = await credentials.fetch(ALICE)
    source.error = CredentialsUnavailable("STS is away.")
    clock.now += HOUR - aws.RENEWAL + 1
    for _ in range(10):
        assert credentials.current(ALICE) is first
        await settled(credentials)
    assert source.fetched.total() == 2  # a failure cools down
    source.error = None
    clock.now += aws.FIRST_COOL_DOWN + 1
    assert credentials.current(ALICE) is first
    await settled(credentials)
    assert credentials.current(ALICE) is not first


async def test_a_failed_lookup_fails_all_waiting_calls_and_is_not_repeated_immediately(credentials, source, clock):
    source.error = CredentialsUnavailable("There are none. Set some.")
    for agent in (ALICE, ALICE, BOB):
        with pytest.raises(CredentialsUnavailable, match=r"There are none\. Set some\."):
            await credentials.fetch(agent)
    assert source.fetched == {"alice": 1}
    source.error = None
    clock.now += aws.FIRST_COOL_DOWN + 1
    assert await credentials.fetch(BOB)
    assert await credentials.fetch(ALICE)


async def test_calls_queued_for_a_lookup_fail_with_it_without_another_lookup(credentials, source):
    source.error = CredentialsUnavailable("STS is away.")
    source.go_on.clear()
    waiting = [asyncio.create_task(credentials.fetch(Agent(f"agent-{n}"))) for n in range(40)]
    while source.at_once < aws.SEARCHES:
        await asyncio.sleep(0.001)
    source.go_on.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(error) for error in errors} == {"STS is away."}
    assert source.fetched.total() == aws.SEARCHES


async def test_a_failed_session_of_one_agent_does_not_affect_others(credentials, source):
    source.error = CredentialsUnavailable("The role does not trust alice.", for_all=False)
    with pytest.raises(CredentialsUnavailable, match="does not trust alice"):
        await credentials.fetch(ALICE)
    source.error = None
    assert await credentials.fetch(BOB)
    with pytest.raises(CredentialsUnavailable, match="does not trust alice"):
        await credentials.fetch(ALICE)
    assert source.fetched == {"alice": 1, "bob": 1}


async def test_repeated_failures_lengthen_the_cool_down_up_to_a_minute(credentials, source, clock):
    source.error = CredentialsUnavailable("no")
    waits = []
    for _ in range(6):
        with pytest.raises(CredentialsUnavailable):
            await credentials.fetch(ALICE)
        begun, searches = clock.now, source.fetched.total()
        while source.fetched.total() == searches:
            clock.now += 1
            with pytest.raises(CredentialsUnavailable):
                await credentials.fetch(ALICE)
        waits.append(clock.now - begun)
    assert waits == [5, 10, 20, 40, 60, 60]


async def test_a_clock_set_back_does_not_prolong_the_cool_down(credentials, source, clock):
    source.error = CredentialsUnavailable("no")
    with pytest.raises(CredentialsUnavailable):
        await credentials.fetch(ALICE)
    source.error = None
    clock.now -= 100_000
    assert await credentials.fetch(ALICE)


async def test_a_hanging_lookup_times_out_with_a_message(credentials, source, monkeypatch):
    monkeypatch.setattr(aws, "DEADLINE", 0.05)
    source.go_on.clear()
    with pytest.raises(CredentialsUnavailable, match="credential_process may not end"):
        await credentials.fetch(ALICE)
    source.go_on.set()


async def test_an_unexpected_exception_becomes_a_message_without_its_content(credentials, source):
    source.error = KeyError("the-secret")
    with pytest.raises(CredentialsUnavailable, match="KeyError") as caught:
        await credentials.fetch(ALICE)
    assert "the-secret" not in str(caught.value)


async def test_credentials_that_are_already_expired_are_not_used(credentials, source):
    source.lifetime = 30
    with pytest.raises(CredentialsUnavailable, match="expire within a minute"):
        await credentials.fetch(ALICE)


async def test_credentials_refused_by_aws_are_looked_up_again_but_not_at_every_refusal(credentials, source, clock):
    first = await credentials.fetch(ALICE)
    credentials.refused(ALICE, first)
    assert credentials.current(ALICE) is first  # found a moment ago: the same would be found
    clock.now += aws.SHORTEST_WAIT
    credentials.refused(BOB, first)
    credentials.refused(ALICE, SigV4Credentials("AKIA1", Secret("s")))
    assert credentials.current(ALICE) is first
    credentials.refused(ALICE, first)
    assert credentials.current(ALICE) is None
    assert source.forgotten == 1
    assert (await credentials.fetch(ALICE)).access_key == "AKIA2"


async def test_sessions_are_bounded_and_the_least_recently_used_is_dropped(source, clock):
    credentials = AwsCredentialCache(source, sessions=3, now=clock)
    for name in "abc":
        await credentials.fetch(Agent(name))
    assert credentials.current(Agent("a"))
    await credentials.fetch(Agent("d"))
    assert [name for name in "abcd" if credentials.current(Agent(name))] == ["a", "c", "d"]


async def test_a_failure_is_logged_once_with_its_effect_on_calls(credentials, source, clock, caplog):
    await credentials.fetch(ALICE)
    source.error = CredentialsUnavailable("STS is away.")
    clock.now += HOUR - aws.RENEWAL + 1
    for _ in range(5):
        credentials.current(ALICE)
        await settled(credentials)
    assert [record.getMessage() for record in caplog.records] == [
        "STS is away. (next attempt in 5 s; the current ones are still valid)"
    ]
