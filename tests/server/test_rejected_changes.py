"""A changed policy or configuration with errors is shown wherever an operator looks. The previous one goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import httpx
import pytest

from tests.docs.pages import CHECKOUT
from tests.support.running import PATIENCE, Wirekey, wait_for

LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
BROKEN = "package wirekey.authz\n\ndeny if {\n"


@pytest.fixture
def proxy(tmp_path):
    """A Wirekey with a copy of the shipped policy, as `wirekey init` makes it."""
    shutil.copytree(CHECKOUT / "policies", tmp_path / "policies")
    settings = {"listen": LISTENERS, "console": {"sign_in": "loopback"}, "policy": {"path": "policies"}}
    proxy = Wirekey(tmp_path, settings, "--simulator")
    yield proxy
    proxy.stop()


class Shown:
    """What an operator sees of a running Wirekey."""

    def __init__(self, proxy) -> None:
        self.proxy = proxy
        self.http = httpx.Client(base_url=f"http://{proxy.running.console}", timeout=PATIENCE, trust_env=False)

    def ready(self) -> tuple[int, dict]:
        response = self.http.get("/ready")
        return response.status_code, response.json().get("rejected_changes", {})

    def metric(self, what: str) -> str:
        lines = self.http.get("/metrics").text.splitlines()
        (line,) = [line for line in lines if line.startswith(f'wirekey_change_rejected{{what="{what}"}}')]
        return line.rpartition(" ")[2]

    def attention(self) -> list[str]:
        return [note["what"] for note in self.http.get("/console/state").json()["attention"] if note["level"] == "bad"]

    def command(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "wirekey", *words, "--config", "wirekey.yaml"]
        done = subprocess.run(command, cwd=self.proxy.folder, env=self.proxy.environ, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def test_the_edit_that_the_cookbook_invites_is_in_force(proxy):
    models = proxy.folder / "policies/models.rego"
    models.write_text(models.read_text().replace('allowed := {""}', 'allowed := {"gpt-4o-mini"}'))
    http = httpx.Client(base_url=f"http://{proxy.running.gateway}", timeout=PATIENCE, trust_env=False)
    key = {"authorization": f"Bearer {proxy.add_agent()}"}

    def status(model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return http.post("/v1/chat/completions", json=body, headers=key).status_code

    wait_for(lambda: status("gpt-4o") == 403, "the shortened list")
    assert status("gpt-4o-mini") == 200
    shown = Shown(proxy)
    assert (shown.ready(), shown.metric("policy")) == ((200, {}), "0.0")
    assert shown.command("policy", "check")[0] == 0


def test_a_policy_with_errors_is_shown_on_the_console_in_ready_in_metrics_and_by_the_commands(proxy):
    shown, file = Shown(proxy), proxy.folder / "policies/more.rego"
    code, printed = shown.command("doctor", "--only", "policy")
    assert (code, "can be loaded, revision" in printed) == (0, True)
    file.write_text(BROKEN)
    wait_for(lambda: shown.ready()[1], "the error to be noticed")
    status, rejected = shown.ready()
    assert (status, list(rejected)) == (200, ["policy"])
    assert "more.rego" not in rejected["policy"], "anyone may read it"
    wait_for(lambda: shown.metric("policy") == "1.0", "the metric")
    assert [what for what in shown.attention() if what.startswith("The changed policy is not in use: more.rego:")]
    code, printed = shown.command("policy", "check")
    assert (code, "more.rego:" in printed, "Wirekey does not load this policy." in printed) == (1, True, True)
    code, printed = shown.command("doctor", "--only", "policy")
    assert (code, "more.rego:" in printed) == (1, True)
    file.unlink()
    wait_for(lambda: not shown.ready()[1], "the previous policy")
    wait_for(lambda: shown.metric("policy") == "0.0", "the metric")
    assert not [what for what in shown.attention() if "policy" in what]


def test_a_configuration_with_errors_is_shown_too(proxy):
    shown, file = Shown(proxy), proxy.folder / "wirekey.yaml"
    valid = file.read_text()
    file.write_text(json.dumps(json.loads(valid) | {"tiemouts": {}}))
    wait_for(lambda: shown.ready()[1], "the error to be noticed")
    status, rejected = shown.ready()
    assert (status, list(rejected)) == (200, ["configuration"])
    wait_for(lambda: shown.metric("configuration") == "1.0", "the metric")
    assert [what for what in shown.attention() if "tiemouts: is not a setting" in what]
    file.write_text(valid)
    wait_for(lambda: not shown.ready()[1], "the previous configuration")
    wait_for(lambda: shown.metric("configuration") == "0.0", "the metric")
