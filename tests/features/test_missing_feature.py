"""What a person is told, and what still works, without one feature."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys

import httpx
import pytest

from tests.features.test_removal import LISTEN, REQUEST, check, check_each, copy_without, using
from tests.support import aws_signing
from tests.support.running import PATIENCE, Wirekey, bare_environment
from wirekey.cli.credential_variables import PLACEHOLDER


def test_metrics_are_served_without_the_live_page(tmp_path):
    packages = copy_without(tmp_path, "console")
    wirekey = Wirekey(tmp_path / "wirekey", {"listen": LISTEN}, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        with httpx.Client(base_url=f"http://{wirekey.running.console}", trust_env=False, timeout=PATIENCE) as client:
            found = {path: client.get(path).status_code for path in ("/", "/console/state", "/metrics", "/health")}
    finally:
        wirekey.stop()
    assert found == {"/": 404, "/console/state": 404, "/metrics": 200, "/health": 200}


def test_a_variable_for_a_setting_of_a_missing_feature_is_refused_with_its_name(tmp_path):
    status, printed = check(tmp_path, copy_without(tmp_path, "rollup"), {}, WIREKEY_ROLLUP__ENABLED="true")
    assert status == 1
    assert "needs the feature rollup" in printed


@pytest.mark.parametrize(
    "settings",
    [
        {"model_override": "python:mine:model"},
        {"routes": [{"match": "*", "upstream_url": "https://llm.example", "auth": "python:mine:credential"}]},
    ],
)
def test_a_function_of_the_operator_is_refused_without_the_feature_that_runs_it(tmp_path, settings):
    status, printed = check(tmp_path, copy_without(tmp_path, "extensions"), settings)
    assert status == 1
    assert "needs the feature extensions" in printed


@pytest.mark.parametrize("store", ["postgresql://db/wirekey", "env:AUDIT_DATABASE"])
def test_an_audit_log_in_a_database_is_refused_without_the_feature_that_writes_it(tmp_path, store):
    packages = copy_without(tmp_path, "postgresql")
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"audit": {"store": store}}))
    environment = {"PYTHONPATH": str(packages), "AUDIT_DATABASE": "postgres://wirekey:secret@db/wirekey"}
    done = subprocess.run(
        [sys.executable, "-m", "wirekey", "audit", "list"],
        cwd=tmp_path,
        env=bare_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "audit.store: needs the feature postgresql, which is missing in this installation" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_token_of_a_missing_kind_is_unknown(tmp_path):
    settings = {"listen": LISTEN, "identity": {"required": False}}
    packages = copy_without(tmp_path / "copy", "jwt")
    wirekey = Wirekey(tmp_path / "wirekey", settings, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        headers = {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2ln"}
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
            url = f"https://{wirekey.running.gateway}/v1/chat/completions"
            response = client.post(url, json=REQUEST, headers=headers)
    finally:
        wirekey.stop()
    assert response.status_code == 401, response.text


def test_the_cache_of_python_alone_is_no_feature(tmp_path):
    packages = copy_without(tmp_path, "rollup")
    (packages / "wirekey" / "features" / "rollup" / "__pycache__").mkdir(parents=True)
    assert [status for status, _ in check_each(tmp_path, packages, [{}, using("rollup")])] == [0, 1]


def test_the_command_of_a_missing_feature_does_not_exist(tmp_path):
    packages = copy_without(tmp_path, "demo")
    environment = bare_environment() | {"PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "wirekey"]
    shown = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "  serve " in shown
    assert "  demo " not in shown
    done = subprocess.run([*command, "demo"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command 'demo'" in done.stderr


def test_the_option_of_a_missing_feature_does_not_exist(tmp_path):
    environment = bare_environment() | {"PYTHONPATH": str(copy_without(tmp_path, "workers"))}
    command = [sys.executable, "-m", "wirekey", "serve"]
    shown = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "--simulator" in shown
    assert "--workers" not in shown
    done = subprocess.run([*command, "--workers", "2"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_without_realtime_a_websocket_is_refused_with_the_reason(tmp_path):
    packages = copy_without(tmp_path, "realtime")
    settings = {"listen": LISTEN, "identity": {"required": True}}
    wirekey = Wirekey(tmp_path / "wirekey", settings, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        token = wirekey.add_agent()
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        opening = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        opening |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "authorization": f"Bearer {token}"}
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
            response = client.get(f"https://{wirekey.running.gateway}/v1/realtime?model=gpt-realtime", headers=opening)
        assert response.status_code == 426
        assert "the feature realtime is missing" in response.json()["error"]["message"]
        event = wirekey.finished_event()
        assert (event["outcome"], event["agent_id"]) == ("denied", "alice")
        assert event["policy_reason"].startswith("websocket_refused")
    finally:
        wirekey.stop()


def test_without_aws_signatures_a_request_that_an_agent_signed_is_refused_as_bedrock_would(tmp_path):
    packages = copy_without(tmp_path, "aws_signatures")
    wirekey = Wirekey(tmp_path / "wirekey", {"listen": LISTEN}, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        token = wirekey.add_agent()
        wirekey.pair = wirekey.agents.pair("alice")
        ours = aws_signing.signed(wirekey)
        foreign = aws_signing.signed(wirekey, pair=("AKIAOFSOMEBODY", "secret"))
        for request in (ours, foreign):
            refused = aws_signing.ask(wirekey, aws_signing.written(request))
            assert refused.status == 403
            assert refused.headers["x-amzn-errortype"] == "UnrecognizedClientException"
            assert "the feature aws_signatures is missing" in refused.json()["message"]
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        proxy = wirekey.proxy_url("alice", token)
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE, proxy=proxy) as client:
            found = [
                client.post(
                    f"https://{aws_signing.HOST}{request.target.decode()}",
                    content=aws_signing.BODY,
                    headers=[pair for pair in request.headers if pair[0].lower() != b"host"],
                ).status_code
                for request in (ours, foreign)
            ]
        assert found == [403, 200]  # the token identifies the agent, and another pair proves nothing
    finally:
        wirekey.stop()


def test_without_aws_signatures_no_pair_is_handed_out(tmp_path):
    environment = bare_environment() | {"PYTHONPATH": str(copy_without(tmp_path, "aws_signatures"))}
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"state": "state"}))

    def run(*words):
        command = [sys.executable, "-m", "wirekey", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert run("agents", "add", "alice").returncode == 0
    for words in (("agents", "aws-key", "alice"), ("agents", "add", "bob", "--aws")):
        assert run(*words).returncode == 2
    for options in ((), ("--gateway",)):
        printed = json.loads(run("env", "--agent", "alice", "--json", *options).stdout)
        assert printed["AWS_ACCESS_KEY_ID"] == printed["AWS_SECRET_ACCESS_KEY"] == PLACEHOLDER
    assert printed["AWS_BEARER_TOKEN_BEDROCK"].startswith("wk_")
