import ssl

import httpx
import pytest

from tests.support.running import PROVIDER_KEYS, SimulatorThread


@pytest.fixture(scope="package")
def shared_simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture
def simulator(shared_simulator):
    shared_simulator.simulator.reset()
    return shared_simulator


@pytest.fixture
def context(shared_simulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=shared_simulator.ca_file)


@pytest.fixture
def http(simulator, context):
    """A plain client with OpenAI's key; the simulator decides by the path."""
    headers = {"authorization": f"Bearer {PROVIDER_KEYS['openai']}"}
    with httpx.Client(base_url=simulator.url, verify=context, headers=headers, trust_env=False) as client:
        yield client
