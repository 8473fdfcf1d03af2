"""A Wirekey with the configuration that a page shows, in front of the simulator."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner
from ruamel.yaml import YAML

from tests.docs.pages import blocks_of
from tests.support.running import EVERYTHING, PATIENCE, SimulatorThread, Wirekey, wait_for
from wirekey.cli.main import group
from wirekey.config import load
from wirekey.core.call import new_call_id

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
GENERATE = {"contents": [{"parts": [{"text": "Say hello."}]}]}


@dataclass
class Stage:
    simulator: SimulatorThread
    wirekey: Wirekey
    configuration: dict[str, Any]
    environ: dict[str, str]
    token: str = ""
    since: str = ""

    @property
    def base(self) -> str:
        return f"http://{self.wirekey.running.gateway}"

    def begin(self) -> None:
        """Forget earlier calls."""
        self.simulator.forget()
        time.sleep(0.002)
        self.since = new_call_id()

    def ask(self, method: str, path: str, body: object = None, token: str | None = None, **headers: str):
        """Send a request to the gateway as the agent. `x_y` names the header x-y."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token != "":
            sent.setdefault("authorization", f"Bearer {token or self.token}")
        return httpx.request(method, self.base + path, json=body, headers=sent, timeout=PATIENCE)

    def event(self) -> dict[str, Any]:
        return self.wirekey.finished_events(1, self.since)[-1]

    @property
    def arrived(self):
        """The last request that reached a provider."""
        return self.simulator.seen[-1]

    def sent(self, name: str) -> str | None:
        """The value of a header of the last request that reached a provider."""
        return {field.decode().lower(): value.decode() for field, value in self.arrived.headers}.get(name)

    def command(self, *arguments: str, given: str = "") -> str:
        """Run `wirekey …` on this state."""
        file = str(self.wirekey.folder / "wirekey.yaml")
        done = CliRunner().invoke(group, [*arguments[:2], "--config", file, *arguments[2:]], input=given)
        assert done.exit_code == 0, done.output
        return done.stdout

    @contextlib.contextmanager
    def again(self, environ: dict[str, str] | None = None, **more: object) -> Iterator[Stage]:
        """Run another Wirekey in front of the same simulator, with more settings and variables."""
        with tempfile.TemporaryDirectory() as folder:
            for module in self.wirekey.folder.glob("*.py"):
                shutil.copy(module, folder)
            configuration = {**self.configuration, **more}
            with staged(Path(folder), self.simulator, configuration, self.environ | (environ or {})) as other:
                other.begin()
                yield other

    def bring(self, **agent: object) -> None:
        """Import an agent."""
        self.command("agents", "import", "-", given=json.dumps([agent]))

    def accepts(self, token: str) -> None:
        """Wait until a token is accepted, which an import may take two seconds for."""
        wait_for(lambda: self.ask("GET", "/v1/models", token=token).status_code == 200, "the token to be accepted")


def shown_configuration(page: str) -> dict[str, Any]:
    """Return the configuration of a page, the first one."""
    block = next(block for block in blocks_of(page) if "configuration" in block.about)
    return YAML(typ="safe").load(block.text)


@contextlib.contextmanager
def staged(
    folder: Path,
    simulator: SimulatorThread,
    configuration: dict[str, Any],
    environ: dict[str, str],
    places: dict[str, str] | None = None,
) -> Iterator[Stage]:
    """Run Wirekey with a configuration whose providers are the simulator. `places`: URLs to replace, and by what."""
    text = json.dumps(configuration)
    for shown, used in (places or {}).items():
        assert shown in text
        text = text.replace(shown, used)
    configuration = json.loads(text)
    providers = configuration.setdefault("providers", {})
    for name in ("openai", "gemini", "anthropic", "bedrock"):
        providers[name] = {**providers.get(name, {}), "upstream_url": simulator.url}
    configuration |= {"listen": LISTEN, "upstream_ca_file": str(simulator.ca_file)}
    configuration.setdefault("policy", {"path": str(EVERYTHING)})
    running = Wirekey(folder, configuration, environ=environ)
    try:
        stage = Stage(simulator, running, configuration, environ)
        stage.token = running.add_agent("alice")
        yield stage
    finally:
        running.stop()


def read_setting(text: str, environ: dict[str, str] | None = None):
    """Return the configuration that a text and an environment give."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wirekey.yaml"
        file.write_text(text)
        return load(file, environ or {})
