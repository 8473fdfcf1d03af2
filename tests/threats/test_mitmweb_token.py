"""THREATS R40, R41 and R50: what mitmweb's token is good for. It shows flows, and leads to no key and no file."""

from __future__ import annotations

import io
import time

import httpx
import pytest
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from tests.secrecy.conftest import Plain
from tests.support.raw_client import CHAT, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, behind, wait_for
from tests.threats.conftest import Stage, beginning
from tests.threats.mitmweb_page import answered_flow
from wirekey.server.options import ALLOWED_COMMANDS, CHANGEABLE

FORGED = b'{"id":"forged","choices":[{"message":{"role":"assistant","content":"from a dump"}}]}'

WRITING = {
    "cut.save": ["@all", "request.path", "FILE"],
    "save.file": ["@all", "FILE"],
    "save.har": ["@all", "FILE"],
    "options.save": ["FILE"],
    "export.file": ["curl", "@all", "FILE"],
}


@pytest.mark.parametrize("command", WRITING)
def test_R40_no_command_of_the_page_writes_a_file(web, command, tmp_path):
    answered_flow(web)
    file = tmp_path / "wirekey.yaml"
    file.write_text("listen: {}\n")
    arguments = [str(file) if argument == "FILE" else argument for argument in WRITING[command]]
    answer = web.page("POST", f"/commands/{command}", json={"arguments": arguments})
    assert answer.json() == {"error": f"Unknown command: {command}"}
    assert file.read_text() == "listen: {}\n"


def test_R40_the_page_has_only_the_commands_of_the_list(web):
    offered = set(web.page("GET", "/commands").json())
    assert offered, "the page has some commands"
    assert offered <= ALLOWED_COMMANDS
    verbs = ("cut", "save", "load", "file", "clip", "run", "inject", "start", "history")
    assert not [name for name in ALLOWED_COMMANDS if any(verb in name.split(".") for verb in verbs)]
    assert not [name for name in ALLOWED_COMMANDS if name.startswith("replay") and not name.endswith("count")]


STREAM = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":true}'


def test_R40_no_command_reads_the_key_off_a_response_that_is_in_progress(web):
    """mitmproxy's `cut` follows any attribute: of the flow, of the tap of its response, of its filter."""
    with web.tunnel() as client:
        client.send(post("X-Simulator: gate,events=5", body=STREAM))
        while b"data:" not in client.received:
            client.received += client.receive_bytes()
        for path in ("response.stream.filter.secrets", "response.stream.calls.services.settings.pools"):
            answer = web.page("POST", "/commands/cut", json={"arguments": ["@all", path]})
            assert PROVIDER_KEYS["openai"] not in answer.text
            assert answer.json() == {"error": "Unknown command: cut"}
        web.simulator.loop.call_soon_threadsafe(web.simulator.simulator.gate.open)
        while b"data: [DONE]" not in client.received:
            client.received += client.receive_bytes()


def other_value(option: dict):
    """Return a valid value of an option that it does not have."""
    value, kind = option["value"], option["type"]
    if option["choices"]:
        return next(choice for choice in option["choices"] if choice != value)
    return {
        "bool": lambda: not value,
        "int": lambda: (value or 0) + 1,
        "optional int": lambda: (value or 0) + 1,
        "str": lambda: f"{value or ''}x",
        "optional str": lambda: f"{value or ''}x",
        "sequence of str": lambda: [*value, "x"],
    }[kind]()


def test_R40_an_option_that_is_not_on_the_list_keeps_its_value(web):
    """So an option of a later mitmproxy cannot be changed either."""
    options = web.page("GET", "/options").json()
    fixed = {name: option for name, option in options.items() if name not in CHANGEABLE}
    assert {"save_stream_file", "hardump", "rfile", "web_static_viewer", "command_history"} <= set(fixed)
    for name, option in fixed.items():
        answer = web.page("PUT", "/options", json={name: other_value(option)})
        assert answer.status_code == 400, name
        assert f"Wirekey refuses this value of {name}" in answer.text
    assert web.page("GET", "/options").json() == options


@pytest.mark.parametrize("option", ["save_stream_file", "hardump"])
def test_R40_flows_are_saved_to_no_file_that_was_not_named_at_the_start(web, option, tmp_path):
    file = tmp_path / "flows"
    answer = web.page("PUT", "/options", json={option: str(file)})
    assert answer.status_code == 400
    assert f"Wirekey refuses this value of {option}: it is fixed at the start." in answer.text
    assert web.ask(post()).status == 200
    assert not file.exists()


def forged_flow(web) -> http.HTTPFlow:
    """Return a flow as a thief of the token would make it: a call of alice that a provider answered."""
    flow = tflow.tflow(resp=True)
    headers = {"authorization": f"Bearer {web.alice}", "content-type": "application/json"}
    url = "https://api.openai.com/v1/chat/completions"
    flow.request = http.Request.make("POST", url, CHAT, headers | {"host": "api.openai.com"})
    flow.response = http.Response.make(200, FORGED, {"content-type": "application/json"})
    flow.request.timestamp_start = flow.request.timestamp_end = time.time()
    return flow


def dump_of(*flows: http.HTTPFlow) -> bytes:
    file = io.BytesIO()
    writer = FlowWriter(file)
    for flow in flows:
        writer.add(flow)
    return file.getvalue()


def test_R41_a_dump_cannot_be_loaded_into_the_page(web):
    answer = web.page("POST", "/flows/dump", content=dump_of(forged_flow(web)))
    assert answer.status_code == 403
    assert "Wirekey" in answer.text
    assert not web.page.flows()
    assert web.page("GET", "/flows/dump").status_code == 200, "saving what the page shows goes on"
    assert web.ask(post()).status == 200
    assert web.event()["attempts"] == 1, "and no other call is recorded"


def test_R41_a_page_without_its_token_learns_nothing_of_that(web):
    url, _ = web.proxy.web
    cookies, headers = {"_mitmproxy_xsrf": "c0ffee"}, {"X-XSRFToken": "c0ffee"}
    for path in ("/flows/dump", "/flows/0-0/replay"):
        answer = httpx.post(url + path, cookies=cookies, headers=headers, trust_env=False)
        assert answer.status_code == 403
        assert "Wirekey" not in answer.text


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("replay.server", ["@all"]),
        ("replay.server.add", ["@all"]),
        ("replay.server.file", ["FILE"]),
        ("replay.client", ["@all"]),
        ("replay.client.file", ["FILE"]),
        ("view.flows.load", ["FILE"]),
    ],
)
def test_R41_no_command_replays_or_loads_flows(web, command, arguments, tmp_path):
    answered_flow(web)
    file = tmp_path / "flows"
    file.write_bytes(dump_of(forged_flow(web)))
    web.began = beginning()
    web.simulator.forget()
    arguments = [str(file) if argument == "FILE" else argument for argument in arguments]
    assert "error" in web.page("POST", f"/commands/{command}", json={"arguments": arguments}).json()
    answer = web.ask(post())
    assert FORGED not in answer.body
    assert web.arrived().body == CHAT
    assert web.event()["attempts"] == 1, "and no other call is recorded"


FORGING = """
import asyncio
from mitmproxy import ctx, http
from mitmproxy.io import FlowReader

class Forging:
    async def running(self):
        with open("forged.flows", "rb") as file:
            for flow in FlowReader(file).stream():
                await ctx.master.load_flow(flow)

    def request(self, flow):
        if flow.live and flow.response is None:
            flow.response = http.Response.make(200, b'{"forged": true}', {"content-type": "application/json"})

addons = [Forging()]
"""


@pytest.fixture(scope="module")
def forging_stage(running_stage, tmp_path_factory):
    """`mitmdump` with an addon beside Wirekey's that loads a flow, and responds to every call."""
    folder = tmp_path_factory.mktemp("forging")
    (folder / "forging.py").write_text(FORGING)
    settings = behind(running_stage.simulator, identity={"required": False})
    stage = Stage(running_stage.simulator, None, "", "")
    unanswered = forged_flow(stage)
    unanswered.response = None
    (folder / "forged.flows").write_bytes(dump_of(forged_flow(stage), unanswered))
    stage.proxy = Plain(folder, settings, "-s", str(folder / "forging.py"), environ=KEY_ENVIRONMENT)
    stage.loaded = wait_for(stage.proxy.events, "the event of the loaded flow")
    running_stage.simulator.forget()
    yield stage
    stage.proxy.stop()


def test_R41_a_loaded_flow_is_no_call(forging_stage):
    """One with a response is no call at all. One without is refused before anything is decided."""
    (event,) = forging_stage.loaded
    assert event["outcome"] == "denied"
    assert event["policy_reason"].startswith("replay_refused")
    assert (event["status"], event["attempts"]) == (403, 0)


def test_R41_a_call_that_was_not_sent_is_not_completed(forging_stage):
    began = beginning()
    answer = forging_stage.ask(post(), token="")
    assert answer.json() == {"forged": True}
    event = forging_stage.proxy.finished_event(began)
    assert event["outcome"] == "interrupted"
    assert event["policy_reason"].startswith("foreign_response")
    assert event["attempts"] == 0
    assert forging_stage.nothing_arrived()
