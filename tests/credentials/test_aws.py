"""AWS credentials as calls need them: one search for many, renewed in time, the last good ones kept."""

import asyncio
import threading
from collections import Counter

import pytest

from wirekey.call import Agent
from wirekey.credentials import aws
from wirekey.credentials.aws import AwsCredentialCache, CredentialsUnavailable, ExpiringCredentials
from wirekey.secret import Secret
from wirekey.signing.request import SigV4Credentials

ALICE, BOB = Agent("alice", "dev"), Agent("bob")
HOUR = 3600.0
PATIENCE = 60


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


class Source:
    """Gives numbered credentials that last `lifetime` seconds, or fails with `error`; waits where told to."""

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
    """Wait for the searches that are under way."""
    while credentials._under_way:
        await asyncio.wait(credentials._under_way, timeout=PATIENCE)


async def test_nothing_is_searched_before_the_first_call_needs_it(credentials, source):
    assert credentials.current(ALICE) is None
    await asyncio.sleep(0)
    assert not source.fetched


async def test_what_was_found_is_there_at_once_from_then_on(credentials, source):
    found = await credentials.fetch(ALICE)
    assert credentials.current(ALICE) is found
    assert await credentials.fetch(ALICE) is found
    assert source.fetched == {"alice": 1}


async def test_each_agent_has_a_session_of_its_own_where_a_role_is_assumed(credentials, source):
    assert (await credentials.fetch(ALICE)) is not (await credentials.fetch(BOB))
    await credentials.fetch(Agent("alice", "admin"))
    await credentials.fetch(None)
    assert source.fetched == {"alice": 2, "bob": 1, None: 1}


async def test_all_agents_share_where_no_role_is_assumed(credentials, source):
    source.per_agent = False
    found = await credentials.fetch(ALICE)
    assert credentials.current(BOB) is found
    assert credentials.current(None) is found


async def test_many_calls_at_once_make_one_search_and_the_loop_goes_on_meanwhile(credentials, source):
    source.go_on.clear()
    waiting = [asyncio.create_task(credentials.fetch(ALICE)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    source.go_on.set()
    assert len({id(found) for found in await asyncio.gather(*waiting)}) == 1
    assert source.fetched == {"alice": 1}


async def test_a_client_that_goes_away_takes_the_search_of_others_not_with_it(credentials, source):
    source.go_on.clear()
    first, second = (asyncio.create_task(credentials.fetch(ALICE)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    source.go_on.set()
    assert (await second).access_key == "AKIA1"
    assert source.fetched == {"alice": 1}


async def test_searches_for_many_agents_are_few_at_a_time(credentials, source):
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
async def test_they_are_renewed_before_their_end_while_the_former_serve(
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


async def test_they_are_not_used_in_their_last_minute(credentials, source, clock):
    await credentials.fetch(ALICE)
    source.error = CredentialsUnavailable("STS is away.")
    clock.now += HOUR - aws.MARGIN - 1
    assert credentials.current(ALICE)
    await settled(credentials)
    clock.now += 1
    assert credentials.current(ALICE) is None


async def test_the_last_good_ones_serve_while_the_renewal_fails(credentials, source, clock):
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


async def test_a_failure_is_told_to_all_and_not_tried_again_at_once(credentials, source, clock):
    source.error = CredentialsUnavailable("There are none. Set some.")
    for agent in (ALICE, ALICE, BOB):
        with pytest.raises(CredentialsUnavailable, match=r"There are none\. Set some\."):
            await credentials.fetch(agent)
    assert source.fetched == {"alice": 1}
    source.error = None
    clock.now += aws.FIRST_COOL_DOWN + 1
    assert await credentials.fetch(BOB)
    assert await credentials.fetch(ALICE)


async def test_those_who_waited_for_their_turn_learn_of_a_failure_without_a_search(credentials, source):
    source.error = CredentialsUnavailable("STS is away.")
    source.go_on.clear()
    waiting = [asyncio.create_task(credentials.fetch(Agent(f"agent-{n}"))) for n in range(40)]
    while source.at_once < aws.SEARCHES:
        await asyncio.sleep(0.001)
    source.go_on.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"STS is away."}
    assert source.fetched.total() == aws.SEARCHES


async def test_a_failure_of_one_agents_session_is_not_the_others(credentials, source):
    source.error = CredentialsUnavailable("The role does not trust alice.", for_all=False)
    with pytest.raises(CredentialsUnavailable, match="does not trust alice"):
        await credentials.fetch(ALICE)
    source.error = None
    assert await credentials.fetch(BOB)
    with pytest.raises(CredentialsUnavailable, match="does not trust alice"):
        await credentials.fetch(ALICE)
    assert source.fetched == {"alice": 1, "bob": 1}


async def test_failures_in_a_row_rest_longer_up_to_a_minute(credentials, source, clock):
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


async def test_a_clock_that_is_set_back_prolongs_no_rest(credentials, source, clock):
    source.error = CredentialsUnavailable("no")
    with pytest.raises(CredentialsUnavailable):
        await credentials.fetch(ALICE)
    source.error = None
    clock.now -= 100_000
    assert await credentials.fetch(ALICE)


async def test_a_search_that_does_not_end_is_given_up_with_a_sentence(credentials, source, monkeypatch):
    monkeypatch.setattr(aws, "DEADLINE", 0.05)
    source.go_on.clear()
    with pytest.raises(CredentialsUnavailable, match="credential_process may not end"):
        await credentials.fetch(ALICE)
    source.go_on.set()


async def test_what_nobody_foresaw_is_a_sentence_too_and_says_nothing_of_the_content(credentials, source):
    source.error = KeyError("the-secret")
    with pytest.raises(CredentialsUnavailable, match="KeyError") as caught:
        await credentials.fetch(ALICE)
    assert "the-secret" not in str(caught.value)


async def test_what_has_ended_when_it_is_found_is_not_given(credentials, source):
    source.lifetime = 30
    with pytest.raises(CredentialsUnavailable, match="expire within a minute"):
        await credentials.fetch(ALICE)


async def test_those_that_aws_refused_are_searched_anew_but_not_at_every_refusal(credentials, source, clock):
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


async def test_the_sessions_kept_are_bounded_and_the_longest_unused_goes_first(source, clock):
    credentials = AwsCredentialCache(source, sessions=3, now=clock)
    for name in "abc":
        await credentials.fetch(Agent(name))
    assert credentials.current(Agent("a"))
    await credentials.fetch(Agent("d"))
    assert [name for name in "abcd" if credentials.current(Agent(name))] == ["a", "c", "d"]


async def test_a_failure_is_logged_once_with_what_becomes_of_the_calls(credentials, source, clock, caplog):
    await credentials.fetch(ALICE)
    source.error = CredentialsUnavailable("STS is away.")
    clock.now += HOUR - aws.RENEWAL + 1
    for _ in range(5):
        credentials.current(ALICE)
        await settled(credentials)
    assert [record.getMessage() for record in caplog.records] == [
        "STS is away. (next attempt in 5 s; the current ones are still valid)"
    ]
