"""Without the folder of a feature, everything else works: proven with copies of the package."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support import aws_signing
from tests.support.running import PATIENCE, Wirekey, bare_environment
from wirekey.cli.credential_variables import PLACEHOLDER
from wirekey.config.feature_settings import TOP, AddedSettings
from wirekey.core.call import new_call_id
from wirekey.feature_registry import FEATURES, features

PACKAGES = Path(__file__).parents[2] / "addons"
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}
CALLS = {
    "openai": ("api.openai.com", "/v1/chat/completions", "authorization", REQUEST, "choices"),
    "gemini": (
        "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "x-goog-api-key",
        {"contents": [{"role": "user", "parts": [{"text": "Hello?"}]}]},
        "candidates",
    ),
    "anthropic": (
        "api.anthropic.com",
        "/v1/messages",
        "x-api-key",
        REQUEST | {"model": "claude-sonnet-4-5", "max_tokens": 100},
        "content",
    ),
    "bedrock": (
        "bedrock-runtime.us-east-1.amazonaws.com",
        "/model/us.amazon.nova-pro-v1%3A0/converse",
        "authorization",
        {"messages": [{"role": "user", "content": [{"text": "Hello?"}]}]},
        "output",
    ),
}
"""For each provider: its host, a path, the header of its key, a body, and a member of the response."""

DESTINATIONS = {
    setting
    for settings in FEATURES.values()
    for setting in settings
    if setting.startswith(("providers.", "backends.")) and setting != "providers.custom"
}
"""The settings of a provider or a backend that a model or a route can name."""


def copy_without(folder: Path, *names: str) -> Path:
    """Copy the packages without these features. Return the folder to import from."""
    copied = folder / "addons"
    shutil.copytree(PACKAGES, copied)
    shutil.copytree(PACKAGES.parent / "policies", folder / "policies")  # the policy that comes with Wirekey
    for name in names:
        shutil.rmtree(copied / "wirekey" / "features" / name)
    return copied


@pytest.fixture(
    scope="module", params=dict.fromkeys([*((name,) for name in FEATURES), tuple(FEATURES)]), ids=" and ".join
)
def removed(request, tmp_path_factory):
    """The features that are missing, and the folder to import the others from."""
    return request.param, copy_without(tmp_path_factory.mktemp("copy"), *request.param)


@pytest.fixture(scope="module")
def serving(removed, tmp_path_factory):
    """`wirekey serve` with the simulator and without the features, and the token of an agent."""
    settings = {"listen": LISTEN, "identity": {"required": True}}
    folder = tmp_path_factory.mktemp("wirekey")
    wirekey = Wirekey(folder, settings, "--simulator", environ={"PYTHONPATH": str(removed[1])})
    try:
        yield wirekey, wirekey.add_agent()
    finally:
        status = wirekey.stop()
    assert status == 0
    assert "Traceback" not in wirekey.output.read_text()


@pytest.mark.parametrize("mode", ["HTTPS_PROXY", "base_url"])
def test_calls_to_each_provider_are_sent_and_recorded(serving, mode):
    wirekey, token = serving
    trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
    proxy = wirekey.proxy_url("alice", token) if mode == "HTTPS_PROXY" else None
    with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE, proxy=proxy) as client:
        for provider, (host, path, key_header, body, member) in CALLS.items():
            address = host if proxy else wirekey.running.gateway
            key = PLACEHOLDER if proxy else token
            headers = {key_header: f"Bearer {key}" if key_header == "authorization" else key}
            headers |= {"anthropic-version": "2023-06-01"} if provider == "anthropic" else {}
            began = new_call_id()
            response = client.post(f"https://{address}{path}", json=body, headers=headers)
            assert response.status_code == 200, (provider, response.text)
            assert response.json()[member]
            event = wirekey.finished_event(began)
            assert (event["provider"], event["outcome"], event["agent_id"]) == (provider, "completed", "alice")


def test_the_process_is_ready(serving):
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        assert client.get(f"http://{serving[0].running.console}/ready").status_code == 200


def test_metrics_are_served_without_the_live_page(tmp_path):
    packages = copy_without(tmp_path, "console")
    wirekey = Wirekey(tmp_path / "wirekey", {"listen": LISTEN}, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        with httpx.Client(base_url=f"http://{wirekey.running.console}", trust_env=False, timeout=PATIENCE) as client:
            found = {path: client.get(path).status_code for path in ("/", "/console/state", "/metrics", "/health")}
    finally:
        wirekey.stop()
    assert found == {"/": 404, "/console/state": 404, "/metrics": 200, "/health": 200}


def using(setting: str) -> dict:
    """A configuration with a setting: of a group, which may be in another, or of a route."""
    group, _, name = setting.rpartition(".")
    if not group:
        return {name: {}}
    if group == "routes":
        return {group: [{"match": "*", name: True}]}
    settings: dict = {name: True}
    for part in reversed(group.split(".")):
        settings = {part: settings}
    return settings


def check(folder: Path, packages: Path, settings: dict, **environ: str) -> subprocess.CompletedProcess:
    """Run `wirekey config check`."""
    (folder / "wirekey.yaml").write_text(json.dumps(settings))
    return subprocess.run(
        [sys.executable, "-m", "wirekey", "config", "check", "--config", "wirekey.yaml"],
        cwd=folder,
        env=bare_environment() | {"PYTHONPATH": str(packages)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_setting_of_a_missing_feature_is_refused_with_its_name(removed, tmp_path):
    names, packages = removed
    for name in names:
        for setting in FEATURES[name]:
            done = check(tmp_path, packages, using(setting))
            assert done.returncode == 1, setting
            assert f"needs the feature {name}, which is missing in this installation" in done.stdout + done.stderr


def test_without_a_setting_of_a_missing_feature_the_configuration_is_valid(removed, tmp_path):
    done = check(tmp_path, removed[1], {"state": "state"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_variable_for_a_setting_of_a_missing_feature_is_refused_with_its_name(tmp_path):
    done = check(tmp_path, copy_without(tmp_path, "rollup"), {}, WIREKEY_ROLLUP__ENABLED="true")
    assert done.returncode == 1
    assert "needs the feature rollup" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"model_override": "python:mine:model"},
        {"routes": [{"match": "*", "upstream_url": "https://llm.example", "auth": "python:mine:credential"}]},
    ],
)
def test_a_function_of_the_operator_is_refused_without_the_feature_that_runs_it(tmp_path, settings):
    done = check(tmp_path, copy_without(tmp_path, "extensions"), settings)
    assert done.returncode == 1
    assert "needs the feature extensions" in done.stdout + done.stderr


def test_a_missing_provider_or_backend_is_refused_wherever_it_is_named(removed, tmp_path):
    names, packages = removed
    for name in names:
        for destination in {setting.partition(".")[2] for setting in FEATURES[name] if setting in DESTINATIONS}:
            model = f"{destination}:gemini-2.5-pro"
            routes = [
                {"match": "a", "provider": destination, "location": "europe-west4"},
                {"match": "b", "model": model},
                {"match": "c", "fallback": [model]},
            ]
            settings = {"default_backend": destination, "routes": routes, "model_override": model}
            done = check(tmp_path, packages, settings)
            assert done.returncode == 1
            assert (done.stdout + done.stderr).count(f"needs the feature {name}, which is missing") == 5
            done = check(tmp_path, packages, {"routes": [{"match": "*", "called_provider": destination}]})
            assert f"needs the feature {name}, which is missing" in done.stdout + done.stderr


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
    assert check(tmp_path, packages, {}).returncode == 0
    assert check(tmp_path, packages, using("rollup")).returncode == 1


def test_the_registry_has_each_folder_and_each_setting():
    folders = {path.parent.name for path in (PACKAGES / "wirekey" / "features").glob("*/__init__.py")}
    assert folders == set(FEATURES)
    assert [feature.name for feature in features()] == list(FEATURES)
    for feature in features():
        found = [
            f"{place}.{field.alias or name}" if place != TOP else name
            for part in feature.parts()
            if isinstance(part, AddedSettings)
            for place, group in part.groups.items()
            for name, field in group.model_fields.items()
        ]
        assert sorted(found) == sorted(FEATURES[feature.name])


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
