"""A mitmproxy addon of the operator beside Wirekey's: what it sees, and that it changes nothing that is sent."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.test_plain_mitmdump import BUNDLE
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for

PROMPT = "a prompt that nobody else may see"
ADDON = """
import json
from pathlib import Path

HERE = Path(__file__).parent


def record(hook, flow):
    response = flow.response
    facts = {
        "hook": hook,
        "method": flow.request.method,
        "url": flow.request.url,
        "path": flow.request.path,
        "headers": [[name.decode(), value.decode()] for name, value in flow.request.headers.fields],
        "content": repr(flow.request.raw_content),
        "response": response and [response.status_code, repr(response.headers), repr(response.raw_content)],
        "comment": flow.comment,
        "everything": repr(flow.get_state()),
    }
    with (HERE / "seen.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\\n")


class Curious:
    def requestheaders(self, flow):
        record("requestheaders", flow)

    def request(self, flow):
        record("request", flow)
        flow.request.headers["x-added"] = "by the addon"
        flow.request.path = "/v1/models"
        flow.request.content = b"{}"

    def responseheaders(self, flow):
        record("responseheaders", flow)

    def response(self, flow):
        record("response", flow)


addons = [Curious()]
"""


class BesideWirekey(Wirekey):
    """mitmdump with Wirekey's addons and one of the operator's."""

    def start(self) -> None:
        (self.folder / "curious.py").write_text(ADDON)
        program = Path(sys.executable).with_name("mitmdump")
        options = ["--mode", "regular@127.0.0.1:0", "-s", str(BUNDLE), "-s", str(self.folder / "curious.py")]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [program, *options, "--set", "wirekey=wirekey.yaml"],
                cwd=self.folder,
                env=self.environ | {"HOME": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running = wait_for(self.is_up, "mitmdump to listen")


@pytest.fixture(scope="module")
def seen(tmp_path_factory, simulator):
    """What the addon saw of one call, the call's agent token, and what reached the provider."""
    simulator.forget()
    proxy = BesideWirekey(tmp_path_factory.mktemp("beside"), behind(simulator), environ=KEY_ENVIRONMENT)
    try:
        token = proxy.add_agent("alice")
        context = ssl.create_default_context(cafile=str(proxy.root))
        with httpx.Client(proxy=proxy.proxy_url("alice", token), verify=context, trust_env=False, timeout=60) as http:
            asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
            url = "https://api.openai.com/v1/chat/completions?trace=secret-of-the-query"
            headers = {"x-api-key": token, "x-note": "free text"}
            assert http.post(url, json=asked, headers=headers).status_code == 200
        proxy.finished_event()
        lines = [json.loads(line) for line in (proxy.folder / "seen.jsonl").read_text().splitlines()]
        yield [line for line in lines if line["method"] == "POST"], token, simulator.seen
    finally:
        proxy.stop()


def test_it_sees_method_host_and_path_and_when_a_call_begins_and_ends(seen):
    lines, _, _ = seen
    assert [line["hook"] for line in lines] == ["requestheaders", "request", "responseheaders", "response"]
    assert lines[0]["url"].endswith("/v1/chat/completions")
    assert ["content-type", "application/json"] in [[name.lower(), value] for name, value in lines[0]["headers"]]
    assert lines[3]["response"][0] == 200


def test_it_sees_no_query_no_free_text_no_body_and_no_credential(seen):
    lines, token, _ = seen
    assert ["x-note", "(removed)"] in [[name.lower(), value] for name, value in lines[0]["headers"]]
    everything = json.dumps(lines)
    for secret in (PROMPT, "secret-of-the-query", "free text", token, *PROVIDER_KEYS.values()):
        assert secret not in everything


def test_its_changes_are_not_sent(seen):
    _, _, arrived = seen
    (request,) = arrived
    assert request.target.startswith("/v1/chat/completions")
    assert PROMPT.encode() in request.body
    assert b"x-added" not in [name.lower() for name, _ in request.headers]
