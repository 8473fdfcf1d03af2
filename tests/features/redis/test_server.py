"""A server: when it cannot be reached, and when another takes over."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest

from tests.support.redis_server import Certificate, RedisCluster, RedisServer, Sentinel
from wirekey.core.secret import Secret
from wirekey.core.shared_state import Budget, SharedStateUnavailableError
from wirekey.features.redis.breaker import FAILURES, REST
from wirekey.features.redis.client import PREFIX, client_of, place_of
from wirekey.features.redis.config import STATE_SCHEMES
from wirekey.features.redis.loss_scripts import MOST_PARTS
from wirekey.features.redis.state import RedisState

LONG = 60.0


@pytest.fixture
def own_redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


async def test_a_server_that_is_away_delays_no_call_for_long(own_redis):
    state = RedisState(Secret(own_redis.url), 0.2)
    await state.start()
    await state.set("key", b"value", LONG)
    own_redis.process.send_signal(signal.SIGSTOP)  # it accepts, and never responds
    times = []
    for _ in range(FAILURES + 20):
        began = time.monotonic()
        with pytest.raises(SharedStateUnavailableError):
            await state.get("key")
        times.append(time.monotonic() - began)
    assert state.trouble()
    assert sum(seconds > 0.1 for seconds in times) < FAILURES + 5, "each call waited, although the server is away"
    own_redis.process.send_signal(signal.SIGCONT)
    await until_available(state)
    assert await state.get("key") == b"value"
    assert state.trouble() is None
    await state.close()


async def test_messages_arrive_again_after_a_restart_of_the_server(own_redis):
    first, second = RedisState(Secret(own_redis.url), 5), RedisState(Secret(own_redis.url), 5)
    received: list[bytes] = []
    second.subscribe("keys", received.append)
    for state in (first, second):
        await state.start()
    own_redis.stop()
    with pytest.raises(SharedStateUnavailableError):
        await first.publish("keys", b"lost")
    own_redis.start()

    async def is_received() -> bool:
        try:
            await first.publish("keys", b"again")
        except SharedStateUnavailableError:
            return False
        return bool(received)

    deadline = time.monotonic() + 30
    while not await is_received():
        assert time.monotonic() < deadline
        await asyncio.sleep(REST / 10)
    assert set(received) == {b"again"}
    for state in (first, second):
        await state.close()


@pytest.fixture(params=["plain", "with TLS"])
def certificate(request):
    """The certificate of the servers, or None if they have no TLS."""
    made = Certificate() if request.param == "with TLS" else None
    yield made
    if made:
        made.remove()


async def test_a_server_with_a_certificate_of_an_unknown_ca_is_not_used(tmp_path):
    trusted, other = Certificate(), Certificate()
    server = RedisServer(tmp_path, trusted)
    place = server.url.partition("?")[0]
    refused = [RedisState(Secret(url), 5) for url in (place, f"{place}?ssl_ca_certs={other.root}")]
    accepted = RedisState(Secret(server.url), 5)
    try:
        await accepted.start()
        await accepted.set("key", b"value", LONG)
        for state in refused:
            with pytest.raises(SharedStateUnavailableError):
                await state.get("key")
    finally:
        for state in (accepted, *refused):
            await state.close()
        server.stop()
        for certificate in (trusted, other):
            certificate.remove()


async def test_with_sentinel_the_replica_takes_over_and_messages_arrive_again(tmp_path, certificate):
    master, replica = RedisServer(tmp_path, certificate), RedisServer(tmp_path, certificate)
    replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
    sentinel = Sentinel(tmp_path, master)
    states = [RedisState(Secret(sentinel.url), 5) for _ in range(2)]
    received: list[bytes] = []
    states[1].subscribe("keys", received.append)
    try:
        for state in states:
            await state.start()
        await states[0].set("key", b"value", LONG)
        assert await states[1].get("key") == b"value"
        await until(lambda: b"slave0" in master.ask("INFO", "replication"))
        await until(lambda: b"slaves=1" in sentinel.ask("INFO", "sentinel"))
        await until(lambda: b"value" in replica.ask("GET", "{wirekey}:key"))
        master.stop()
        await until(lambda: b"role:master" in replica.ask("INFO", "replication"))
        found, deadline = None, time.monotonic() + 60
        while not (received and found):
            assert time.monotonic() < deadline, (received, found)
            with contextlib.suppress(SharedStateUnavailableError):  # Sentinel has no master for a moment
                found = await states[1].get("key")
                await states[0].publish("keys", b"news")
            await asyncio.sleep(REST / 10)
        assert found == b"value"
    finally:
        for state in states:
            await state.close()
        for server in (sentinel, replica, master):
            server.stop()


async def test_in_a_cluster_a_replica_takes_over_and_messages_arrive_again(tmp_path, certificate):
    cluster = RedisCluster(tmp_path, certificate)
    states = [RedisState(Secret(cluster.url), 5) for _ in range(2)]
    received: list[bytes] = []
    states[1].subscribe("keys", received.append)
    try:
        master = cluster.owner(PREFIX + "key")
        replica = cluster.add_replica(tmp_path, master)
        for state in states:
            await state.start()
        await states[0].set("key", b"value", LONG)
        await until(lambda: b"keys=1," in replica.ask("INFO", "keyspace"))
        master.stop()
        assert replica.ask("CLUSTER", "FAILOVER", "TAKEOVER") == b"+OK\r\n"
        found, deadline = None, time.monotonic() + 60
        while not (received and found):
            assert time.monotonic() < deadline, (received, found)
            with contextlib.suppress(SharedStateUnavailableError):  # until a client has asked for the new list of nodes
                found = await states[1].get("key")
                await states[0].publish("keys", b"news")
            await asyncio.sleep(REST / 10)
        assert found == b"value"
    finally:
        for state in states:
            await state.close()
        cluster.stop()


async def test_a_total_is_unknown_after_the_server_was_restarted_empty(own_redis):
    state = RedisState(Secret(own_redis.url), 5)
    await state.start()
    await state.open_total("usd", 50, LONG)
    own_redis.stop()
    own_redis.start()
    await until_available(state)
    assert (await state.reserve("call", [Budget("usd", 1, 100)], LONG)).unopened == (0,)
    await state.close()


async def test_the_parts_of_the_first_ledgers_are_kept_and_all_are_in_the_total(own_redis):
    state = RedisState(Secret(own_redis.url), 5)
    await state.start()
    await state.open_total("usd", 0, LONG)
    for number in range(2 * MOST_PARTS):
        for call in ("first", "second"):
            state.losses.ledger = f"ledger-{number}"
            await state.settle(f"{call}-{number}", {"usd": 1})
    found = await state.reserve("call", [Budget("usd", 1, 100)], LONG)
    assert found.levels[0].spent == 4 * MOST_PARTS
    assert found.parts == ({f"ledger-{number}": 2 for number in range(MOST_PARTS)},)
    await state.close()


@pytest.mark.parametrize("scheme", STATE_SCHEMES)
async def test_the_password_of_a_server_is_in_no_message(scheme, caplog):
    caplog.set_level("DEBUG")
    state = RedisState(Secret(f"{scheme}://user:s3cr3t@127.0.0.1:1/0"), 0.5)
    for _ in range(FAILURES):
        with pytest.raises(SharedStateUnavailableError) as raised:
            await state.get("key")
    with pytest.raises(SharedStateUnavailableError):
        await state.start()
    await state.close()
    assert "127.0.0.1:1" in str(raised.value)
    assert "s3cr3t" not in str(raised.value) + repr(raised.value.__cause__) + caplog.text + str(state.trouble())


@pytest.mark.parametrize("scheme", STATE_SCHEMES)
def test_the_user_and_the_password_of_a_url_are_decoded(scheme):
    client = client_of(f"{scheme}://us%40er:p%3Ass@127.0.0.1:1/0")
    settings = client.connection_pool.connection_kwargs if "cluster" not in scheme else client.connection_kwargs
    assert (settings["username"], settings["password"]) == ("us@er", "p:ss")


def test_the_place_of_a_server_has_no_user_and_no_password():
    assert place_of("redis://user:p%40ss@host:1/0") == "host:1"


async def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def until_available(state) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            await state.get("key")
        except SharedStateUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return
