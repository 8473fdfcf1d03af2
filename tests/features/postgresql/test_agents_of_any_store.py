"""The tests of agents in a file, with the database of several machines and its local copy."""

from inspect import signature

import pytest

from tests.identity import test_agents as in_a_file
from tests.identity.test_agents import agents, clock, path
from tests.support.postgres_server import postgres
from wirekey.core.identity.agents import AgentStore
from wirekey.core.secret import Secret
from wirekey.features.postgresql.agents import AgentsDatabase

__all__ = ["agents", "clock", "path", "postgres"]

OF_ANY_STORE = {
    name: test
    for name, test in vars(in_a_file).items()
    if name.startswith("test_") and {"agents", "opened"} & signature(test).parameters.keys()
}
globals().update(OF_ANY_STORE)


@pytest.fixture(scope="module")
def agents_url(postgres):
    return Secret(postgres.new_database())


@pytest.fixture
def opened(path, clock, agents_url):
    database = AgentsDatabase(agents_url)
    with database.connected() as connection:
        connection.execute("TRUNCATE wirekey.agents")
    return lambda: AgentStore(path, clock, shared=database)


def test_the_tests_of_agents_are_found():
    assert len(OF_ANY_STORE) >= 25
