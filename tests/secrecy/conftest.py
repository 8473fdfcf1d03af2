from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.canaries import Canaries
from tests.support.ports import free_port
from tests.support.running import PROVIDER_KEYS, SimulatorThread, Wirekey, behind, wait_for
from wirekey.server.runtime import RunningProxy
from wirekey_simulator import delivery, dispatch, mistral, text
from wirekey_simulator.google_tokens import GoogleTokens
from wirekey_simulator.openai import chat
from wirekey_simulator.plain_http import serving

BUNDLE = Path(__file__).parents[2] / "addons" / "bundle.py"
ROLLUP = {"enabled": True, "threshold": 40, "model": "gemini-2.5-sim-unicode"}
"""Each conversation is stored, and most are summarised. The summaries have the canary of a response."""
SETTINGS = {
    "rollup": ROLLUP,
    "limits": {"body_bytes": "1MiB"},
    "timeouts": {"connect": 10, "first_byte": 60, "idle": 3},
}


@pytest.fixture(scope="package")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(scope="package")
def provider_keys(canaries):
    return {name: [canaries(f"key of {name} {number}", "sk-") for number in (1, 2)] for name in PROVIDER_KEYS}


@pytest.fixture(scope="package")
def tokens(canaries):
    """A token server of Google's. Its access tokens become canaries after all calls."""
    made = GoogleTokens()
    with serving(made) as url:
        made.url = f"{url}/token"
        canaries.add("key of the service account", json.loads(made.service_account())["private_key"].splitlines()[3])
        yield made


@pytest.fixture(scope="package")
def simulator(tmp_path_factory, canaries, provider_keys, tokens):
    """A simulator that says canaries: in texts, errors, broken events, and where it does not speak HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "UNICODE", " ".join([canaries("content of answers: text"), "größer"] * 4))
        said = canaries("content of answers: error")
        patch.setattr(dispatch, "SENTENCES", dict.fromkeys(dispatch.SENTENCES, said))
        in_stream = canaries("content of answers: error in a stream")
        patch.setattr(chat, "STREAM_ERROR", b'data: {"error":{"message":"%s"}}\n\n' % in_stream.encode())
        error = b'data: {"object":"error","message":"%s"}\n\n' % in_stream.encode()
        patch.setattr(mistral, "STREAM_ERROR", error)
        rubbish = canaries("content of answers: no HTTP").encode()
        patch.setattr(delivery, "RUBBISH", rubbish + b"\r\n\r\n" + rubbish)
        more = {"vertex": tokens.issued, "azure": [canaries("key of azure 1")]}
        running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=provider_keys | more)
        running.tokens = tokens
        yield running
        running.stop()


@pytest.fixture(scope="package")
def environment(provider_keys, canaries):
    own = {"KEY_AZURE": canaries("key of azure 1")}
    return own | {
        f"KEY_{name.upper()}_{n}": key for name, keys in provider_keys.items() for n, key in enumerate(keys, 1)
    }


@pytest.fixture(scope="package")
def configuration(simulator, tmp_path_factory):
    account = tmp_path_factory.mktemp("account") / "account.json"
    account.write_text(simulator.tokens.service_account())
    settings = behind(simulator, **SETTINGS)
    for name, provider in settings["providers"].items():
        if name == "bedrock":
            provider["aws"] = {"bearer": "env:KEY_BEDROCK_1"}
        else:
            provider["keys"] = [f"env:KEY_{name.upper()}_{number}" for number in (1, 2)]
    settings["providers"]["vertex"] = {
        "locations": ["europe-west4"],
        "credentials": str(account),
        "upstream_url": simulator.url,
    }
    azure = {"name": "azure", "hosts": ["corp.openai.azure.com"], "path": "/openai", "deployments": True}
    azure |= {"auth": "api-key", "keys": ["env:KEY_AZURE"], "upstream_url": simulator.url}
    settings["providers"]["custom"] = [azure]
    return settings


class Serve(Wirekey):
    """`wirekey serve`, started as users start it."""

    new_process = True

    def stop_and_see(self) -> dict[str, bytes]:
        assert self.stop() == 0
        return {}


class ServeWeb(Serve):
    """`wirekey serve --web`."""

    more: tuple[str, ...] = ()

    def __init__(self, folder, configuration, environ) -> None:
        self.web_port = free_port()
        super().__init__(folder, configuration, "--web", "--web-port", str(self.web_port), *self.more, environ=environ)

    @property
    def web(self) -> tuple[str, str]:
        """Address and token of mitmweb's page."""
        found = wait_for(
            lambda: re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\w+)", self.output.read_text()), "its URL"
        )
        return found[1], found[2]


class ServeWebKeeping(ServeWeb):
    """`wirekey serve --web --keep-responses`."""

    more = ("--keep-responses",)


class Plain(Wirekey):
    """`mitmdump -s addons/bundle.py`, writing down all that it can."""

    def __init__(self, folder, configuration, *arguments, environ, program="mitmdump") -> None:
        self.program = program
        super().__init__(folder, configuration, *arguments, environ=environ)

    def start(self) -> None:
        options = ["-s", str(BUNDLE), "--set", f"wirekey={self.folder / 'wirekey.yaml'}", *self.arguments]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name(self.program)), *options],
                cwd=self.folder,
                env=self.environ | {"HOME": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running: RunningProxy = wait_for(self.is_up, "mitmdump to listen")


TALKATIVE = [
    *("-v", "-v", "--set", "termlog_verbosity=debug", "--set", "flow_detail=4"),
    *("--set", "content_view_lines_cutoff=1000000", "-w", "flows.dump", "--set", "hardump=flows.har"),
]


@pytest.fixture
def plain(tmp_path, configuration, environment):
    proxy = Plain(tmp_path / "plain", configuration, *TALKATIVE, environ=environment)
    yield proxy
    proxy.stop(signal.SIGINT)


@pytest.fixture
def serve(tmp_path, configuration, environment):
    settings = {**configuration, "log": {"format": "console", "level": "debug", "file": "wirekey.core.observing.log"}}
    proxy = Serve(tmp_path / "serve", settings, environ=environment)
    yield proxy
    proxy.stop()


@pytest.fixture
def serve_web(tmp_path, configuration, environment):
    proxy = ServeWeb(tmp_path / "web", configuration, environment)
    yield proxy
    proxy.stop()


@pytest.fixture
def serve_web_keeping(tmp_path, configuration, environment):
    proxy = ServeWebKeeping(tmp_path / "keeping", configuration, environment)
    yield proxy
    proxy.stop()
