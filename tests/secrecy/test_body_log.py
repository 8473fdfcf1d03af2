"""The log of bodies has the content of every operation, and no credential, whatever clients and providers send."""

from __future__ import annotations

import json

import pytest

from tests.secrecy.calls import OPENAI, all_calls, broken_calls, post
from tests.secrecy.conftest import Serve
from tests.secrecy.test_nothing_leaks import BEHAVIOURS, FAULTS, Clients
from tests.support.running import wait_for

NO_CREDENTIALS = ("content", "slot X-Goog-Upload-File-Name", "query after", "query metadata[owner]")
"""Places of canaries that are content, names and parameters of requests."""


@pytest.mark.usefixtures("simulator")
def test_no_canary_of_a_credential_is_in_the_log_of_bodies(
    tmp_path, canaries, configuration, environment, provider_keys
):
    settings = configuration | {"log": {"format": "json", "bodies": "bodies.jsonl"}}
    proxy = Serve(tmp_path / "wirekey", settings, environ=environment)
    try:
        token = proxy.add_agent("alice")
        canaries.add("token of alice in the log of bodies", token)
        clients = Clients(proxy, token, canaries)
        for number, call in enumerate(all_calls(canaries)):
            clients(call, BEHAVIOURS[number % 3])
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": canaries("content of openai prompt")}]}
        for fault in FAULTS:
            clients(post(OPENAI, "/v1/chat/completions", body), fault)
            clients(post(OPENAI, "/v1/chat/completions", body | {"stream": True}), fault)
        for call in broken_calls(canaries):
            clients(call)
        for key in provider_keys["openai"]:
            said = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"is {key} or {token} mine?"}]}
            clients(post(OPENAI, "/v1/chat/completions", said))
        assert clients.statuses[200] > 50
        sent = [event for event in proxy.finished_events(1) if event["attempts"]]
        sent = [event for event in sent if event["operation"] != "rollup.summary"]  # is in no log
        file = proxy.folder / "bodies.jsonl"
        wait_for(lambda: len(file.read_text().splitlines()) >= 2 * len(sent), "the lines of all calls")
    finally:
        proxy.stop()
    data = file.read_bytes()
    assert canaries.found_in(data, NO_CREDENTIALS) == []
    assert canaries("content of openai prompt").encode() in data, "the log has content"
    assert all(json.loads(line)["call"] for line in data.splitlines())
