"""Chromium before the page of a Wirekey that runs, and programs that call through it."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.running import PATIENCE, SimulatorThread, Wirekey, wirekey_behind
from tests.support.serving import wirekey

playwright = pytest.importorskip("playwright.sync_api")

LISTEN = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
POLICY = """package wirekey.authz

deny contains "No o3 for guests." if {
	input.agent.role == "guest"
	startswith(input.model, "o3")
}
"""
PROMPT = "CANARY-prompt-77d1"


@dataclass
class Scene:
    """A running Wirekey with two agents."""

    proxy: Wirekey
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.proxy.running.console}"

    def add(self, name: str, **facts) -> None:
        self.tokens[name] = self.proxy.add_agent(name, **facts)

    def link(self, *arguments: str) -> str:
        command = ["console", "--config", "wirekey.yaml", "--json", *arguments]
        return json.loads(wirekey(self.proxy.folder, *command, environ=self.proxy.environ).stdout)["url"]

    def program(self, agent: str) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.proxy.root)
        proxy = self.proxy.proxy_url(agent, self.tokens[agent])
        return httpx.Client(proxy=proxy, verify=context, trust_env=False, timeout=PATIENCE)

    def call(self, agent: str, model: str, count: int = 1, headers: dict[str, str] | None = None, **more) -> None:
        content = {"model": model, "messages": [{"role": "user", "content": PROMPT}], **more}
        with self.program(agent) as client:
            for _ in range(count):
                answer = client.post("https://api.openai.com/v1/chat/completions", json=content, headers=headers)
                assert answer.status_code in (200, 403)


@pytest.fixture(scope="package")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def scene(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "authz.rego").write_text(POLICY)
    policy = {"path": str(folder / "policies")}
    with wirekey_behind(folder / "house", simulator, listen=LISTEN, policy=policy) as proxy:
        made = Scene(proxy)
        made.add("alice", role="engineer", type="interactive")
        made.add("guest-7", role="guest")
        yield made


@pytest.fixture(scope="package")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        # Without its sandbox where root runs the tests, as in a container.
        arguments = ["--js-flags=--expose-gc", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        started = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Open pages of their own; at the end none may have had an error in its console."""
    contexts, errors = [], []

    def opened(width=1440, height=900, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.errors = errors
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(scene, open_page):
    """A page that is signed in and follows."""
    made = open_page()
    made.goto(scene.link())
    made.locator("#link[data-state=live]").wait_for()
    return made
