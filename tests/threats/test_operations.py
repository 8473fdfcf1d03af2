"""THREATS C14, C15, R50 and 2.7: mitmproxy's own means, its page among them, undo nothing; no raw bytes in the log."""

from __future__ import annotations

import base64
import json
import re
import signal
import sqlite3
import threading
from pathlib import Path

import httpx
import pytest

from tests.secrecy.conftest import BUNDLE, Plain
from tests.support.raw_client import CHAT, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, behind, wait_for
from tests.threats.conftest import OPENAI, Stage, beginning
from tests.threats.mitmweb_page import answered_flow
from wirekey.config import load, provider_hosts
from wirekey.core.ca import authority

STREAM = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":true}'


# Secrets in flows. That they are nowhere else is for tests/secrecy to show.


def test_C14_a_flow_has_neither_key_nor_content_nor_query(web):
    answer = web.ask(post("X-Note: a note", f"X-Api-Key: {web.alice}", path="/v1/chat/completions?after=x&key=y"))
    assert answer.status == 200
    flow = web.page.flows()[-1]
    assert flow["request"]["path"] == "/v1/chat/completions"
    assert ["X-Note", "(removed)"] in flow["request"]["headers"]
    assert flow["request"]["contentLength"] is None
    assert flow["response"]["contentLength"] is None
    seen = web.arrived()
    assert seen.target == "/v1/chat/completions?after=x"
    assert (b"X-Note", b"a note") in seen.headers
    assert seen.body == CHAT


def test_C15_proxy_credentials_are_on_no_flow(web):
    basic = base64.b64encode(f"alice:{web.alice}".encode()).decode()
    flow = answered_flow(web)
    told = json.dumps(flow) + web.page("GET", "/events").text + web.page("GET", "/flows/dump").text
    assert basic not in told
    assert web.alice not in told
    assert "proxyauth" not in told


def test_C14_a_crash_leaves_no_core_dump(stage):
    limits = Path(f"/proc/{stage.proxy.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


# mitmweb.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost.localdomain", "ip6-localhost", "[::1]"])
def test_W1_the_page_is_not_reached_through_the_proxy(web, host):
    port = web.proxy.web_port
    with web.client() as client:
        assert client.connect(f"{host}:{port}", "alice", web.alice).status == 403
    basic = base64.b64encode(f"alice:{web.alice}".encode()).decode()
    with web.client() as client:
        client.send(
            f"GET http://{host}:{port}/flows HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Proxy-Authorization: Basic {basic}\r\n\r\n".encode()
        )
        assert client.read_response().status == 403


def test_W2_the_page_is_on_loopback_only_and_requires_its_token(web):
    assert web.page.option("web_host") == "127.0.0.1"
    url, token = web.proxy.web
    for path in ("/flows", "/options", "/events", "/state", "/flows/dump"):
        assert httpx.get(url + path, trust_env=False).status_code == 403
        assert httpx.get(url + path, params={"token": "wrong"}, trust_env=False).status_code == 403
    arguments = Path(f"/proc/{web.proxy.process.pid}/cmdline").read_bytes()
    assert token.encode() not in arguments
    assert web.page.option("web_open_browser") is False, "it would put the token on the command line of the browser"


def test_W3_W4_a_replay_gets_no_key_and_reaches_no_provider(web):
    flow = answered_flow(web)
    web.simulator.forget()
    changed = {"request": {"path": "/v1/models", "method": "GET", "headers": [["Host", OPENAI]], "content": ""}}
    assert web.page("PUT", f"/flows/{flow['id']}", json=changed).status_code == 200
    answer = web.page("POST", f"/flows/{flow['id']}/replay")
    assert answer.status_code == 403
    assert "Wirekey replays no flows" in answer.text
    web.began = beginning()
    assert web.ask(post(path="/v1/models", method="GET", body=b"")).status == 200
    assert web.arrived().target == "/v1/models"
    assert web.event()["path"] == "/v1/models", "and no other call is recorded"


def intercepted(web, request=None):
    """Hold a call at its request, where an operator could edit it; the thread that waits and its flow."""
    assert web.page("PUT", "/options", json={"intercept": "~q"}).status_code == 200
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(web.ask(request or post(path="/v1/chat/completions?after=x")))
    )
    asking.start()
    flow = wait_for(lambda: next((flow for flow in web.page.flows() if flow["intercepted"]), None), "interception")
    return asking, flow, answers


def test_W3_an_edit_of_a_held_call_changes_nothing_that_is_sent(web):
    asking, flow, answers = intercepted(web)
    changed = {
        "path": "/v1/organization/admin_api_keys",
        "method": "DELETE",
        "headers": [["Host", "api.openai.com"], ["Authorization", "Bearer edited"], ["X-Edited", "1"]],
        "content": '{"model":"edited"}',
    }
    assert web.page("PUT", f"/flows/{flow['id']}", json={"request": changed}).status_code == 200
    web.page("POST", f"/flows/{flow['id']}/resume")
    asking.join(30)
    assert answers[0].status == 200
    seen = web.arrived()
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/chat/completions?after=x", CHAT)
    assert not any(name.lower() == b"x-edited" for name, _ in seen.headers)
    assert [value for name, value in seen.headers if name.lower() == b"authorization"] == [
        f"Bearer {PROVIDER_KEYS['openai']}".encode()
    ]


@pytest.mark.parametrize("place", [{"host": "127.0.0.2"}, {"host": "localhost"}, {"port": 9}, {"scheme": "http"}])
def test_W3_a_held_call_that_is_sent_elsewhere_gets_no_key(web, place):
    asking, flow, answers = intercepted(web)
    assert web.page("PUT", f"/flows/{flow['id']}", json={"request": place}).status_code == 200
    web.page("POST", f"/flows/{flow['id']}/resume")
    asking.join(30)
    assert answers[0].status in (403, 502)
    assert web.nothing_arrived()


def test_W3_a_held_call_that_is_killed_reaches_no_provider(web):
    """mitmproxy keeps it waiting, until its client goes; a call without an end is `interrupted` when Wirekey ends."""
    web.page("PUT", "/options", json={"intercept": "~q"})
    with web.tunnel() as client:
        client.send(post())
        flow = wait_for(lambda: next((flow for flow in web.page.flows() if flow["intercepted"]), None), "interception")
        assert web.page("POST", f"/flows/{flow['id']}/kill").status_code == 200
        assert web.page("POST", f"/flows/{flow['id']}/resume").status_code == 200
    web.page("PUT", "/options", json={"intercept": None})
    assert web.ask(post(path="/v1/models", method="GET", body=b"")).status == 200
    assert web.arrived().target == "/v1/models"


def test_W3_a_running_stream_that_is_killed_is_recorded_to_its_end(web):
    with web.tunnel() as client:
        client.send(post("X-Simulator: gate,events=5", body=STREAM))
        while b"data:" not in client.received:
            client.received += client.receive_bytes()
        flow = wait_for(lambda: next((flow for flow in web.page.flows() if flow["response"]), None), "the answer")
        assert web.page("POST", f"/flows/{flow['id']}/kill").status_code == 200
        web.simulator.loop.call_soon_threadsafe(web.simulator.simulator.gate.open)
        while more := client.receive_bytes():
            client.received += more
        assert b"data: [DONE]" in client.received
        assert not client.received.endswith(b"0\r\n\r\n"), "a killed answer does not look whole"
    event = web.event()
    assert (event["status"], event["policy_result"]) == (200, "allow")
    assert event["outcome"] in ("completed", "client_cancelled")
    assert event["output_tokens"] == 5


def test_W3_reverting_an_edit_restores_no_more_than_was_shown(web):
    flow = answered_flow(web)
    web.page("PUT", f"/flows/{flow['id']}", json={"request": {"path": "/v1/models"}})
    web.page("POST", f"/flows/{flow['id']}/revert")
    assert web.page.flows()[-1]["request"] == flow["request"]
    web.page("POST", f"/flows/{flow['id']}/duplicate")
    assert json.dumps(web.page.flows()).count("hello") == 0


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("script.run", ["@all", str(BUNDLE)]),
        ("set", ["ssl_insecure=true"]),
        ("set", ["scripts=/tmp/any.py"]),
        ("set", ["modify_headers=/~q/authorization/x"]),
        ("options.load", ["HOSTILE"]),
    ],
)
def test_W3_W8_commands_change_nothing_that_wirekey_depends_on(web, command, arguments, tmp_path):
    hostile = tmp_path / "options.yaml"
    hostile.write_text("ssl_insecure: true\n")
    arguments = [str(hostile) if argument == "HOSTILE" else argument for argument in arguments]
    before = web.page("GET", "/options").json()
    answer = web.page("POST", f"/commands/{command}", json={"arguments": arguments})
    assert "error" in answer.json(), answer.text
    assert web.page("GET", "/options").json() == before


# Options.

HOSTILE = {
    "connection_strategy": "eager",
    "rawtcp": True,
    "keep_host_header": False,
    "upstream_cert": True,
    "validate_inbound_headers": False,
    "ssl_insecure": True,
    "ssl_verify_upstream_trusted_confdir": "/tmp",
    "ssl_verify_upstream_trusted_ca": "/tmp/their-ca.pem",
    "ciphers_server": "ALL:@SECLEVEL=0",
    "tls_version_server_min": "TLS1",
    "store_streamed_bodies": True,
    "proxy_debug": True,
    "web_debug": True,
    "add_upstream_certs_to_client_chain": True,
    "certs": ["*=/tmp/their.pem"],
    "stream_large_bodies": "1k",
    "body_size_limit": "1k",
    "ignore_hosts": ["openai"],
    "allow_hosts": ["openai"],
    "tcp_hosts": ["openai"],
    "udp_hosts": ["openai"],
    "client_certs": "/tmp",
    "upstream_auth": "user:canary-in-an-option",
    "proxyauth": "user:canary-in-an-option",
    "stickyauth": ".",
    "stickycookie": ".",
    "map_remote": ["|api.openai.com|evil.example"],
    "map_local": ["|api.openai.com|/tmp"],
    "modify_headers": ["/~q/authorization/x"],
    "modify_body": ["/~q/a/b"],
    "block_list": [":~u x:404"],
    "anticache": True,
    "anticomp": True,
    "server_replay": ["/tmp/flows"],
    "onboarding": True,
    "onboarding_host": "api.openai.com",
    "client_replay": ["/tmp/flows"],
    "confdir": "/tmp",
    "mode": ["socks5@127.0.0.1:0"],
    "listen_host": "0.0.0.0",
    "listen_port": 1,
    "server": False,
    "scripts": ["/tmp/any.py"],
    "wirekey": "/tmp/other.yaml",
    "wirekey_keep_responses": True,
}


def test_W7_W8_each_option_that_wirekey_depends_on_is_tried():
    from wirekey.server.options import FIXED_OPTIONS, REQUIRED

    assert {*REQUIRED, *FIXED_OPTIONS} - {"emudhra", "emudhra_old"} == set(HOSTILE), (
        "those two are of a later mitmproxy"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_R50_W7_W8_an_option_that_wirekey_depends_on_cannot_change_while_it_runs(web, name):
    before = web.page("GET", "/options").json()
    answer = web.page("PUT", "/options", json={name: HOSTILE[name]})
    assert answer.status_code == 400
    assert "Wirekey refuses" in answer.text
    assert name in answer.text
    assert "canary" not in answer.text
    assert web.page("GET", "/options").json() == before


@pytest.fixture(scope="module")
def prepared(running_stage, tmp_path_factory):
    """A configuration whose CA exists already, as making one takes time."""
    folder = tmp_path_factory.mktemp("prepared")
    settings = {"certs": str(folder / "certs"), "listen": {"forward": "127.0.0.1:0", "gateway": None, "console": None}}
    (folder / "wirekey.yaml").write_text(json.dumps(behind(running_stage.simulator, **settings)))
    config = load(folder / "wirekey.yaml", KEY_ENVIRONMENT)
    authority.ensure(config.certs.folder, list(provider_hosts(config)))
    return folder


def start_plain(prepared, tmp_path, running_stage, *options, environ=None):
    settings = behind(running_stage.simulator, certs=str(prepared / "certs"))
    return Plain(tmp_path / "plain", settings, *options, environ=KEY_ENVIRONMENT | (environ or {}))


AT_START = [
    "onboarding_host=api.openai.com",
    "ssl_insecure=true",
    "proxy_debug=true",
    "map_remote=|api.openai.com|evil.example",
    "confdir=/tmp/other",
    "proxyauth=any",
]


@pytest.mark.parametrize("option", AT_START)
def test_R50_W7_W8_mitmdump_with_a_hostile_option_does_not_start(prepared, tmp_path, running_stage, option):
    with pytest.raises(AssertionError, match="ended with 1") as ended:
        start_plain(prepared, tmp_path, running_stage, "--set", option)
    assert "Wirekey refuses" in str(ended.value)
    assert option.partition("=")[0] in str(ended.value)


def test_C14_flows_that_are_saved_contain_no_secret_and_no_content(prepared, tmp_path, running_stage):
    saved, har = tmp_path / "flows", tmp_path / "flows.har"
    proxy = start_plain(prepared, tmp_path, running_stage, "-w", str(saved), "--set", f"hardump={har}")
    proxy.certs = prepared / "certs"
    try:
        assert Stage(running_stage.simulator, proxy, proxy.add_agent("alice"), "").ask(post()).status == 200
    finally:
        proxy.stop(signal.SIGINT)
    for file in (saved, har):
        content = file.read_bytes()
        assert b"/v1/chat/completions" in content
        assert PROVIDER_KEYS["openai"].encode() not in content
        assert b"hello" not in content


def test_W8_options_in_mitmproxys_own_file_are_checked_too(prepared, tmp_path, running_stage):
    home = tmp_path / "plain" / ".mitmproxy"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text("ssl_insecure: true\n")
    with pytest.raises(AssertionError, match="Wirekey refuses this value of ssl_insecure"):
        start_plain(prepared, tmp_path, running_stage)


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE"])
@pytest.mark.parametrize("plain", [True, False], ids=["mitmdump", "serve"])
def test_C14_tls_session_keys_are_not_logged(prepared, tmp_path, running_stage, name, plain):
    file = tmp_path / "keys.log"
    from tests.support.running import Wirekey

    kind = Plain if plain else Wirekey
    settings = behind(running_stage.simulator, certs=str(prepared / "certs"))
    with pytest.raises(AssertionError, match=rf"{name} is set.*Unset {name}"):
        kind(tmp_path / "x", settings, environ=KEY_ENVIRONMENT | {name: str(file)})
    # tornado makes a TLS context when it is imported, for which OpenSSL writes a heading; no connection, so no keys.
    written = file.read_text().splitlines() if file.exists() else []
    assert not [line for line in written if not line.startswith("#")]


def test_W7_an_upstream_whose_certificate_is_not_trusted_gets_nothing(prepared, tmp_path, running_stage):
    from tests.support.running import Wirekey

    settings = behind(running_stage.simulator, certs=str(prepared / "certs"), upstream_ca_file=None)
    proxy = Wirekey(tmp_path / "untrusting", settings, environ=KEY_ENVIRONMENT)
    proxy.certs = prepared / "certs"
    stage = Stage(running_stage.simulator, proxy, proxy.add_agent("alice"), "")
    running_stage.simulator.forget()
    try:
        answer = stage.ask(post())
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_not_trusted")
        assert stage.nothing_arrived()
    finally:
        proxy.stop()


def test_W6_only_its_owner_can_read_the_key_of_the_ca(stage):
    assert (stage.proxy.certs / "mitmproxy-ca.pem").stat().st_mode & 0o777 == 0o600
    assert stage.proxy.certs.stat().st_mode & 0o077 == 0


# Logs.

NASTY = {
    "escape": "\x1b[2J\x1b[31m",
    "line end in the path": "%0d%0aFAKE",
    "tabs": "\t\t",
    "latin-1": "\xff\xfe",
    "right to left": "\u202e".encode().decode("latin-1"),
    "line separator": "\u2028".encode().decode("latin-1"),
    "long": "a" * 30_000,
}


@pytest.mark.parametrize("name", NASTY)
def test_L1_no_line_of_the_log_has_bytes_of_a_client_raw(stage, name):
    nasty = NASTY[name]
    before = len(stage.proxy.output.read_bytes())
    for request in (
        post(f"User-Agent: {nasty}"),
        post(path=f"/v1/{nasty}"),
        post(host=f"api.openai.com{nasty}"),
        post(method=f"GET{nasty}"),
        post(f"{nasty}: x"),
    ):
        with stage.tunnel() as client:
            client.send(request)
            client.read_response()
    with stage.client() as client:
        client.connect(f"{nasty}.example:443", "alice", stage.alice)
    wait_for(
        lambda: len(stage.proxy.events()) and not any(e["outcome"] is None for e in stage.proxy.events()), "events"
    )
    written = stage.proxy.output.read_bytes()[before:]
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", written)
    for line in written.splitlines():
        assert len(line) < 5000
        assert json.loads(line)["level"]
    for event in stage.proxy.events():
        assert not any(isinstance(value, str) and len(value) > 5000 for value in event.values())


def test_L2_no_value_of_a_query_is_recorded(stage):
    before = len(stage.proxy.output.read_bytes())
    assert stage.ask(post(path="/v1/chat/completions?after=nobody-logs-this&key=nor-this")).status == 200
    stage.ask(post(path="/v1/unheard-of?after=nobody-logs-this"))
    events = stage.proxy.finished_events(2, stage.began)
    assert {event["path"] for event in events} == {"/v1/chat/completions", "/v1/unheard-of"}
    for text in (json.dumps(events), stage.proxy.output.read_text()[before:]):
        assert "nobody-logs-this" not in text
        assert "nor-this" not in text


# The loop.


def test_P5_a_call_that_waits_for_its_record_delays_no_other(stage):
    """The audit is locked by another program: the call waits for it, and is refused in the end; others go on."""
    answers = []
    database = sqlite3.connect(stage.proxy.state / "audit.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        waiting = threading.Thread(target=lambda: answers.append(stage.ask(post())))
        waiting.start()
        for _ in range(20):
            with stage.client() as client:
                assert client.connect("api.openai.com:22", "alice", stage.alice).status == 403
        others_were_first = not answers
        waiting.join(60)
    finally:
        database.execute("ROLLBACK")
        database.close()
    assert others_were_first
    assert answers[0].status == 503
    assert answers[0].json()["error"]["code"] == "cannot_record"
    assert stage.nothing_arrived()


def test_P5_a_large_body_does_not_hold_up_the_loop_for_long(stage):
    """Other calls get through while bodies of the largest size are read and judged one after another."""
    body = b'{"model":"gpt-4o-mini","messages":[' + b",".join([b'{"role":"user","content":"x"}'] * 30_000) + b"]}"
    assert len(body) < 1024 * 1024
    done = threading.Event()

    def large() -> None:
        for _ in range(10):
            assert stage.ask(post(body=body)).status == 200
        done.set()

    sender = threading.Thread(target=large)
    sender.start()
    finished_early = 0
    while not done.is_set():
        assert stage.ask(post()).status == 200
        finished_early += not done.is_set()
    sender.join()
    assert finished_early >= 5
