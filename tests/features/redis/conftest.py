"""The state on a server. The core's tests of the shared state run with one server and with a cluster."""

from __future__ import annotations

import pytest

from tests.support.redis_server import RedisCluster, RedisServer
from wirekey.core.secret import Secret
from wirekey.features.redis.state import RedisState

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


@pytest.fixture(params=["redis_server", "redis_cluster"])
def server(request):
    """A server, or a cluster, without any data."""
    server = request.getfixturevalue(request.param)
    server.empty()
    return server


@pytest.fixture
async def state(server):
    """The state of one process."""
    state = RedisState(Secret(server.url), PATIENT)
    await state.start()
    yield state
    await state.close()


@pytest.fixture
async def pair(server):
    """The states of two processes."""
    states = RedisState(Secret(server.url), PATIENT), RedisState(Secret(server.url), PATIENT)
    for state in states:
        await state.start()
    yield states
    for state in states:
        await state.close()
