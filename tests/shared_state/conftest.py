"""The implementations of the shared state. Each test of this folder runs with each of them."""

from __future__ import annotations

import pytest

from tests.redis_server import RedisCluster, RedisServer
from wirekey.secret import Secret
from wirekey.shared_state import MemoryState
from wirekey.shared_state.redis import RedisState
from wirekey.shared_state.sqlite import SqliteState

PATIENT = 5.0
"""Seconds. A test must not fail because the machine is busy."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory):
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def maker(request, name: str):
    """Return a function that makes states which share what they know."""
    if name == "sqlite":
        path = request.getfixturevalue("tmp_path") / "shared.db"
        return lambda: SqliteState(path)
    server = request.getfixturevalue("redis_cluster" if name == "redis cluster" else "redis_server")
    server.empty()
    return lambda: RedisState(Secret(server.url), PATIENT)


@pytest.fixture(params=["memory", "sqlite", "redis", "redis cluster"])
async def state(request):
    """The state of one process."""
    state = MemoryState() if request.param == "memory" else maker(request, request.param)()
    await state.start()
    yield state
    await state.close()


@pytest.fixture(params=["sqlite", "redis", "redis cluster"])
async def pair(request):
    """The states of two processes."""
    make = maker(request, request.param)
    states = make(), make()
    for state in states:
        await state.start()
    yield states
    for state in states:
        await state.close()
