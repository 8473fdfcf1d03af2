from __future__ import annotations

import pytest

from tests.deliveries.paths import PathOfCalls, Stage
from tests.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind

ROUTES = [
    {"match": "two-keys-*", "provider": "openai", "keys": ["env:FIRST", "env:SECOND"]},
    {"match": "again-*", "fallback": ["gpt-4o-mini"]},
    {"match": "alone-*", "failover": {"max_attempts": 1}},
    {"match": "other-model", "model": "gpt-4.1"},
]


@pytest.fixture(scope="package")
def stages(tmp_path_factory):
    """By whether connections are pooled, and there both protocols are spoken upstream."""
    running = {}
    for pooled in (True, False):
        protocols = ("h2", "http/1.1") if pooled else ("http/1.1",)
        simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=protocols)
        settings = behind(simulator, routes=ROUTES, upstream_connections={"reuse": pooled})
        settings["policy"]["timeout"] = 20  # many calls at once, and they are not about the policy
        environ = KEY_ENVIRONMENT | dict.fromkeys(("FIRST", "SECOND"), PROVIDER_KEYS["openai"])
        running[pooled] = Stage(simulator, Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=environ))
    yield running
    for stage in running.values():
        stage.proxy.stop()
        stage.simulator.stop()
        said = stage.proxy.output.read_text()
        for sign in ("Traceback", "crashed", "a layer failed"):
            assert sign not in said, said[-3000:]


@pytest.fixture
def path(request) -> PathOfCalls:
    return request.param


@pytest.fixture
def stage(path, stages) -> Stage:
    stage = stages[path.pooled]
    stage.simulator.forget()
    stage.simulator.simulator.script.clear()
    return stage
