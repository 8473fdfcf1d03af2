"""`mitmdump -s addons/bundle.py` decides, sends and records the same calls as `wirekey serve`."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for

BUNDLE = Path(__file__).parents[2] / "addons" / "bundle.py"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
POLICY = """package wirekey.authz
deny contains "gpt-4o is not allowed" if { input.model == "gpt-4o" }
"""
DIFFERENT = ("id", "time", "ttfb_ms", "duration_ms", "policy_revision", "replica")
"""Fields of the audit event that differ from call to call."""


class Mitmdump(Wirekey):
    """Plain mitmdump with Wirekey's addons."""

    def start(self) -> None:
        program = Path(sys.executable).with_name("mitmdump")
        options = ["--mode", "regular@127.0.0.1:0", "-s", str(BUNDLE), "--set", "wirekey=wirekey.yaml"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [program, *options],
                cwd=self.folder,
                env=self.environ | {"HOME": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running = wait_for(self.is_up, "mitmdump to listen")


def call(http, **request):
    """Make a call. Return its status and the code of its error, or the exception's type if no response came."""
    try:
        response = http.request(**{"method": "POST", "url": "https://api.openai.com/v1/chat/completions"} | request)
    except httpx.HTTPError as error:
        return type(error).__name__, None
    content = response.json() if response.headers.get("content-type") == "application/json" else {}
    return response.status_code, (content.get("error") or {}).get("code") if response.status_code >= 400 else None


def outcomes(kind, folder, simulator):
    """Make all calls with a new process. Return what the client got, what the provider got, and the audit events."""
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "authz.rego").write_text(POLICY)
    simulator.forget()
    proxy = kind(folder, behind(simulator, policy={"path": "policies"}), environ=KEY_ENVIRONMENT)
    try:
        token = proxy.add_agent("alice")
        context = ssl.create_default_context(cafile=str(proxy.root))
        options = {"verify": context, "trust_env": False, "timeout": PATIENCE}
        found = []
        with httpx.Client(proxy=proxy.proxy_url("alice", token), **options) as http:
            found.append(call(http, json=CHAT))
            found.append(call(http, json=CHAT | {"stream": True}))
            found.append(call(http, json=CHAT | {"model": "gpt-4o"}))
            found.append(call(http, json=CHAT, headers={"x-simulator": "echo-key"}))
            found.append(call(http, content=b"{not JSON", headers={"content-type": "application/json"}))
            found.append(call(http, url="https://api.openai.com/v1/unknown"))
            found.append(call(http, method="GET", url="https://api.openai.com/v1/models"))
        for wrong in (proxy.proxy_url("alice", "wk_" + "x" * 43), f"http://{proxy.running.forward}"):
            with httpx.Client(proxy=wrong, **options) as http:
                found.append(call(http, json=CHAT))
        events = [
            {name: value for name, value in event.items() if name not in DIFFERENT}
            for event in proxy.finished_events(9)
        ]
        return found, [(seen.method, seen.target) for seen in simulator.seen], events
    finally:
        proxy.stop()


def test_mitmdump_treats_each_call_as_serve_does(tmp_path, simulator):
    served = outcomes(Wirekey, tmp_path / "serve", simulator)
    found = outcomes(Mitmdump, tmp_path / "other", simulator)
    assert found == served
    statuses = [status for status, _ in served[0]]
    assert statuses[:3] == [200, 200, 403]
    assert {event["outcome"] for event in served[2]} >= {"completed", "denied", "upstream_error"}
