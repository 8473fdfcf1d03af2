"""Without what is only for speed in the wire layer, each delivery of a response reaches the client whole."""

from __future__ import annotations

import pytest

from tests.deliveries.fixtures import ROUTES
from tests.deliveries.paths import DELIVERIES, PATHS, Deployment, failed_rows, name_parameter
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from tests.support.stream_formats import FORMATS
from wirekey.core.wire.install import PLAIN

CALLS = {
    f"{name}{', stream' if directives else ', whole'}": (wanted, directives)
    for name, wanted in FORMATS.items()
    for directives in ("input-tokens=31, tokens=12", "")
}
COMBINATIONS = [(delivery, PATHS[index % len(PATHS)]) for index, delivery in enumerate(DELIVERIES)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A deployment whose process has the switch."""
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=("h2", "http/1.1"))
    routes = [route for route in ROUTES if "keys" not in route]
    settings = behind(simulator, routes=routes)
    settings["listen"] = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    proxy = Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=KEY_ENVIRONMENT | {PLAIN: "1"})
    yield Deployment(simulator, proxy)
    proxy.stop()
    simulator.stop()
    output = proxy.output.read_text()
    for sign in ("Traceback", "crashed", "a layer failed"):
        assert sign not in output, output[-3000:]


@pytest.mark.parametrize(("delivery", "path"), COMBINATIONS, ids=name_parameter)
def test_each_delivery_arrives_whole(plain, path, delivery):
    def check(agent, row):
        wanted, directives = row
        request = agent.request(wanted.provider, "POST", wanted.path, directives, json=wanted.body)
        response = agent.client.request(**request)
        assert response.status_code == 200
        assert response.content
        (event,) = agent.events(1)
        assert (event["operation"], event["outcome"]) == (wanted.operation, "completed")

    assert failed_rows(plain, path, delivery, CALLS, check) == []
