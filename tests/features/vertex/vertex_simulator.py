"""A simulator of Vertex AI, and the server that issues the access tokens that it accepts."""

from __future__ import annotations

import pytest

from tests.support.running import PROVIDER_KEYS, SimulatorThread
from wirekey_simulator.google_tokens import GoogleTokens
from wirekey_simulator.plain_http import serving


@pytest.fixture(scope="module")
def tokens():
    made = GoogleTokens()
    with serving(made) as url:
        made.url = f"{url}/token"
        yield made


@pytest.fixture(scope="module")
def simulator(tmp_path_factory, tokens):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys={**keys, "vertex": tokens.issued})
    yield running
    running.stop()
