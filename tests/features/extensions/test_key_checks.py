"""The operator's function is asked once about a key, off the event loop, and every failure denies."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import msgspec
import pytest

from wirekey.core.calls.imported_tokens import ImportedTokens
from wirekey.core.calls.services import Services
from wirekey.core.calls.state_sharing import StateSharing, token_values
from wirekey.core.errors import Refusal
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.import_file import AgentEntry
from wirekey.core.identity.throttle import FREE
from wirekey.extension import Agent
from wirekey.feature import FeatureValues
from wirekey.features.extensions import key_checks, running
from wirekey.features.extensions.checked_keys import CheckedKey
from wirekey.features.extensions.key_checks import KeyChecker, check_keys, keys_to_check, presented_key
from wirekey.features.extensions.running import KeyCheck

KEY = "key-of-a-client-4f61"
TOO_LATE = "did not return within 0.2 s"


def checker(function):
    return KeyChecker(KeyCheck("python:keys:agent", function))


async def ask(checker, text=KEY, place="proxy"):
    key = presented_key(None, text, place)
    return await checker.ask(key, checker.results.digest(key.key, place))


async def slow(key, place):
    await asyncio.sleep(60)


def blocked(key, place):
    time.sleep(1)


def fails(key, place):
    raise ValueError(f"the key {key.reveal()} is odd")


def refuses(key, place):
    raise Refusal(400, "odd", f"the key {key.reveal()} is odd")


def leaves(key, place):
    raise SystemExit(3)


@pytest.mark.parametrize("value", ["x" * 7, "with a space", "x" * 1025, "schlüssel", "wk_" + "x" * 40, "a\ttab-in-it"])
def test_a_value_that_cannot_be_a_key_is_not_asked_about(value):
    assert presented_key(None, value, "api_key") is None


def test_a_short_key_can_be_asked_about_and_is_not_shown():
    key = presented_key("alice", "short-01", "proxy")
    assert key.key.reveal() == "short-01"
    assert "short-01" not in repr(key)


async def test_the_function_gets_a_secret_and_a_place():
    seen = []
    assert (await ask(checker(lambda key, place: seen.append((key, place)) or "alice"))).owner == "alice"
    ((key, place),) = seen
    assert (repr(key), str(key), f"{key}", key.reveal(), place) == (*["Secret(…)"] * 3, KEY, "proxy")


async def test_a_function_that_is_not_async_runs_in_a_thread():
    threads = []

    def agent(key, place):
        threads.append(threading.current_thread())
        return Agent("external")

    assert (await ask(checker(agent))).owner == Agent("external")
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (slow, TOO_LATE),
        (blocked, TOO_LATE),
        (fails, "failed: ValueError"),
        (refuses, "failed: it may not raise a Refusal"),
        (leaves, "it wanted to exit"),
        (lambda key, place: {"id": "alice"}, "returned neither"),
        (lambda key: "alice", "failed: TypeError"),
    ],
)
async def test_a_function_that_fails_denies_with_503_and_is_asked_again(monkeypatch, function, why):
    if why == TOO_LATE:
        monkeypatch.setattr(running, "KEY_TIME_LIMIT", 0.2)
    failing = checker(function)
    with pytest.raises(Refusal) as refusal:
        await ask(failing)
    assert (refusal.value.status, refusal.value.code) == (503, "extension_failed")
    assert why in refusal.value.message
    assert KEY not in refusal.value.message
    assert failing.results._results == failing._pending == {}


async def test_calls_at_the_same_time_ask_once_and_each_place_is_asked_about():
    asked = []

    async def agent(key, place):
        asked.append(place)
        await asyncio.sleep(0.05)
        return "alice" if place == "proxy" else None

    one = checker(agent)
    results = await asyncio.gather(*(ask(one) for _ in range(20)), ask(one, place="api_key"))
    assert {result and result.owner for result in results} == {"alice", None}
    await ask(one)
    assert sorted(asked) == ["api_key", "proxy"]


async def test_a_caller_that_goes_away_does_not_disturb_the_others():
    go = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def agent(key, place):
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go.wait(), loop))
        return "alice"

    one = checker(agent)
    first, second = asyncio.create_task(ask(one)), asyncio.create_task(ask(one))
    await asyncio.sleep(0.01)
    first.cancel()
    go.set()
    assert (await second).owner == "alice"


async def test_too_many_keys_at_a_time_are_refused(monkeypatch):
    monkeypatch.setattr(key_checks, "MAX_PENDING", 2)
    one = checker(slow)
    tasks = [asyncio.create_task(ask(one, f"{KEY}-{number}")) for number in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Refusal) as refusal:
        await ask(one, "another-key")
    assert (refusal.value.status, refusal.value.code) == (503, "extension_busy")
    for task in [*tasks, *one._pending.values()]:
        task.cancel()


@pytest.mark.parametrize("owner", ["alice", Agent("external", "reader", None, ("web:read",))])
def test_another_process_gets_what_is_kept_of_the_key_that_began_an_upload(owner):
    checked = CheckedKey(owner, 1_800_000_000.5)
    values = msgspec.json.decode(msgspec.json.encode(token_values(checked)))
    assert StateSharing(Services())._token(values) == checked


# Guesses.


class Connection:
    """A connection of a client. It can be weakly referenced."""

    peername = ("192.0.2.7", 5000)


@pytest.fixture
def services(tmp_path):
    services = Services()
    services.agents = AgentStore(tmp_path / "agents.json")
    services.agents.add("alice")
    return services


def use(services, function):
    services.settings = replace(services.settings, features=FeatureValues.of([checker(function)]))


def keys(*texts):
    return [presented_key(None, text, "api_key") for text in texts]


def waits(services):
    return services.guesses.wait("192.0.2.7", time.monotonic()) > 0


async def test_a_burst_of_guesses_asks_about_few_keys_at_a_time(services):
    asked = []

    async def agent(key, place):
        asked.append(key)
        await asyncio.sleep(0.05)

    use(services, agent)
    bursts = [check_keys(services, Connection(), keys(f"letmein-{number}")) for number in range(50)]
    results = await asyncio.gather(*bursts)
    assert len(asked) == FREE
    assert sum(result.wait > 0 for result in results) == 50 - FREE
    assert waits(services)
    assert not services.settings.features.find(KeyChecker).weak


async def test_keys_that_were_not_checked_are_guesses_while_an_imported_token_can_be_guessed(services):
    import_agents = [AgentEntry("row 1", "everyone", tokens=("our-proxy-key-2026",))]
    use(services, fails)
    for imported in (False, True):
        if imported:
            services.agents.import_agents(import_agents)
        for number in range(FREE):
            with pytest.raises(Refusal, match="could not be checked"):
                await check_keys(services, Connection(), keys(f"letmein-{imported}-{number}"))
        assert waits(services) is imported
    with pytest.raises(Refusal, match="more than 4 keys"):
        await check_keys(services, Connection(), keys(*(f"letmein-more-{number}" for number in range(5))))


async def test_a_guessable_imported_token_that_has_to_wait_is_not_shown_to_the_function(services):
    services.agents.import_agents([AgentEntry("row 1", "everyone", tokens=("our-proxy-key-2026",))])
    found = keys_to_check(services, ["our-proxy-key-2026", "our-proxy-key-2027"], [])
    assert [key.key.reveal() for key in found] == ["our-proxy-key-2027"]


async def test_a_tunnel_is_refused_once_the_setting_is_removed(services):
    assert await check_keys(services, Connection(), keys(KEY)) == ImportedTokens()


async def test_a_request_with_a_right_and_a_wrong_key_has_the_agent_of_the_right_one(services):
    use(services, lambda key, place: "alice" if key.reveal() == KEY else None)
    found = await check_keys(services, Connection(), keys("placeholder-of-an-sdk", KEY))
    assert [(name, checked.owner) for name, checked in found.claims] == [(None, "alice")]
    assert found.values == {KEY}
    assert KEY not in repr(found)
