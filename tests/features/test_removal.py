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

from tests.support.running import PATIENCE, Wirekey, bare_environment
from wirekey.cli.credential_variables import PLACEHOLDER
from wirekey.config.feature_settings import TOP, AddedSettings
from wirekey.core.call import new_call_id
from wirekey.feature_registry import FEATURES, features

CHECKOUT = Path(__file__).parents[2]
PACKAGES = CHECKOUT / "addons"
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
    copied, features_folder = folder / "addons", str(PACKAGES / "wirekey" / "features")
    shutil.copytree(PACKAGES, copied, ignore=lambda parent, _: names if parent == features_folder else ())
    shutil.copytree(PACKAGES.parent / "policies", folder / "policies")  # the policy that comes with Wirekey
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


CHECK_EACH = """
import json, pathlib, sys
from click.testing import CliRunner
from wirekey.cli.main import group

for settings in json.load(sys.stdin):
    pathlib.Path("wirekey.yaml").write_text(json.dumps(settings))
    done = CliRunner().invoke(group, ["config", "check", "--config", "wirekey.yaml"])
    print(json.dumps([done.exit_code, done.output]))
"""
"""A program that runs `wirekey config check` for each configuration that it is given."""


def check_each(folder: Path, packages: Path, configurations: list[dict], **environ: str) -> list[tuple[int, str]]:
    """Run `wirekey config check` for each configuration. Return the exit codes and what was printed."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK_EACH],
        cwd=folder,
        env=bare_environment() | {"PYTHONPATH": str(packages)} | environ,
        input=json.dumps(configurations),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def check(folder: Path, packages: Path, settings: dict, **environ: str) -> tuple[int, str]:
    """Run `wirekey config check`. Return the exit code and what was printed."""
    (found,) = check_each(folder, packages, [settings], **environ)
    return found


def naming(destination: str) -> list[dict]:
    """Return two configurations that name a provider or a backend: in five places, and as the one that is called."""
    model = f"{destination}:gemini-2.5-pro"
    routes = [
        {"match": "a", "provider": destination, "location": "europe-west4"},
        {"match": "b", "model": model},
        {"match": "c", "fallback": [model]},
    ]
    return [
        {"default_backend": destination, "routes": routes, "model_override": model},
        {"routes": [{"match": "*", "called_provider": destination}]},
    ]


@pytest.fixture(scope="module")
def checked(removed, tmp_path_factory):
    """A configuration as JSON → the exit code and the output of `wirekey config check`, from one process for all."""
    names, packages = removed
    settings = [setting for name in names for setting in FEATURES[name]]
    configurations = [{"state": "state"}, *map(using, settings)]
    for setting in settings:
        if setting in DESTINATIONS:
            configurations += naming(setting.partition(".")[2])
    found = check_each(tmp_path_factory.mktemp("checked"), packages, configurations)
    return {json.dumps(each): result for each, result in zip(configurations, found, strict=True)}


def test_only_a_setting_of_a_missing_feature_is_refused_and_with_its_name(removed, checked):
    for name in removed[0]:
        for setting in FEATURES[name]:
            status, printed = checked[json.dumps(using(setting))]
            assert status == 1, setting
            assert f"needs the feature {name}, which is missing in this installation" in printed, setting
    assert checked[json.dumps({"state": "state"})][0] == 0, checked


def test_a_missing_provider_or_backend_is_refused_wherever_it_is_named(removed, checked):
    for name in removed[0]:
        for setting in DESTINATIONS.intersection(FEATURES[name]):
            (status, each_place), (_, called) = (
                checked[json.dumps(each)] for each in naming(setting.partition(".")[2])
            )
            assert status == 1
            assert each_place.count(f"needs the feature {name}, which is missing") == 5
            assert f"needs the feature {name}, which is missing" in called


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
