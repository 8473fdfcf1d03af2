from __future__ import annotations

import pytest

from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind

LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}


@pytest.fixture(scope="package")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path, simulator):
    """A function that starts Wirekey with these settings."""
    started = []

    def start(**settings) -> Wirekey:
        proxy = Wirekey(
            tmp_path / f"wirekey{len(started)}",
            behind(simulator, **{"listen": LISTENERS, **settings}),
            environ=KEY_ENVIRONMENT,
        )
        started.append(proxy)
        return proxy

    simulator.forget()
    yield start
    for proxy in started:
        proxy.stop()
