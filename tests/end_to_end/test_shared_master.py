"""Two processes with the same `secrets.master` accept what the other one issued, and share no file but the agents."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
import sys
from types import SimpleNamespace

import httpx
import jwt
import pytest

from tests.support import aws_signing
from tests.support.raw_client import CHAT, RawClient, RawResponse, post
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.aws_pairs import KeyPair
from wirekey.core.identity.import_file import read_entries
from wirekey.core.identity.installation_keys import REASONING_STATE, MasterSecret
from wirekey.core.secret import Secret
from wirekey.features.translation.neutral import ModelMaker, Reasoning
from wirekey.features.translation.state import StateReader
from wirekey.server.runtime import RunningProxy
from wirekey_simulator.signatures import signature

OPENAI = "api.openai.com"
TOKEN = secrets.token_urlsafe(32)
USERS = json.dumps([{"agent": "billing", "token": TOKEN}]).encode()
LISTEN = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
AWS = {"access_key": "env:REAL_ID", "secret_key": "env:REAL_SECRET"}
AWS_ENVIRONMENT = {"REAL_ID": aws_signing.REAL[0], "REAL_SECRET": aws_signing.REAL[1]}


def new_secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


OLD, NEW = new_secret(), new_secret()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = aws_signing.signing_simulator(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@contextlib.contextmanager
def replica(folder, simulator, *masters, agents: bytes = b""):
    """A Wirekey whose first secret is its master and whose other ones are previous. `agents`: its list of agents."""
    state = folder / "state"
    state.mkdir(parents=True, mode=0o700)
    if agents:
        (state / "agents.json").write_bytes(agents)
        (state / "agents.json").chmod(0o600)
    names = [f"env:MASTER_{number}" for number in range(len(masters))]
    configuration = behind(simulator, listen=LISTEN, secrets={"master": names[0], "previous": names[1:]})
    configuration["providers"]["bedrock"]["aws"] = AWS
    configuration["routes"] = [{"match": "to-anthropic", "provider": "anthropic", "model": "claude-sonnet-4-5"}]
    environ = {f"MASTER_{number}": master for number, master in enumerate(masters)}
    running = Wirekey(folder, configuration, environ={**KEY_ENVIRONMENT, **AWS_ENVIRONMENT, **environ})
    running.console = wait_for(lambda: RunningProxy.read(running.state).console, "the console to listen")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def first(tmp_path_factory, simulator):
    """A replica with agents, and what it issued to them."""
    folder = tmp_path_factory.mktemp("replicas") / "first"
    with replica(folder, simulator, OLD) as running:
        agents = AgentStore(running.state / "agents.json", masters=(MasterSecret.parse(OLD),))
        agents.add("alice")
        credentials = agents.add_client("carol")
        agents.import_agents(read_entries(USERS, "users"))
        issued = SimpleNamespace(pair=agents.pair("alice"), credentials=credentials, agents=agents.path)
        running.issued = issued
        issued.jwt = token_of(running, credentials)
        yield running


@pytest.fixture(scope="module")
def second(tmp_path_factory, simulator, first):
    folder = tmp_path_factory.mktemp("replicas") / "second"
    with replica(folder, simulator, OLD, agents=first.issued.agents.read_bytes()) as running:
        yield running


@pytest.fixture(scope="module")
def rotated(tmp_path_factory, simulator, first):
    folder = tmp_path_factory.mktemp("replicas") / "rotated"
    with replica(folder, simulator, NEW, OLD, agents=first.issued.agents.read_bytes()) as running:
        yield running


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, simulator, first):
    folder = tmp_path_factory.mktemp("replicas") / "foreign"
    with replica(folder, simulator, NEW, agents=first.issued.agents.read_bytes()) as running:
        running.issued = token_of(running, first.issued.credentials)
        yield running


def token_of(running, credentials) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret.reveal(),
    }
    response = httpx.post(f"http://{running.console}/api/v1/auth/token", data=form, trust_env=False)
    assert response.status_code == 200, response.text
    return response.json()["access_token"]


def chat(running, token: str, body: bytes = CHAT) -> RawResponse:
    """The response to a call with a token in place of the key, sent in two pieces."""
    with RawClient(running.running.forward) as client:
        assert client.connect(f"{OPENAI}:443").status == 200
        client.start_tls(running.root, OPENAI)
        request = post(f"Authorization: Bearer {token}", body=body)
        client.send(request[:40])
        client.send(request[40:])
        return client.read_response()


def chat_status(running, token: str) -> int:
    return chat(running, token).status


def aws_status(running, pair) -> int:
    head = aws_signing.signed(running, pair=(pair.access_key, pair.secret.reveal()))
    return aws_signing.ask(running, aws_signing.written(head)).status


@pytest.mark.parametrize(("name", "status"), [("first", 200), ("second", 200), ("rotated", 200), ("foreign", 401)])
def test_another_process_accepts_what_was_issued_only_with_the_secret(request, first, name, status):
    running = request.getfixturevalue(name)
    assert chat_status(running, first.issued.jwt) == status
    assert chat_status(running, TOKEN) == status
    assert (aws_status(running, first.issued.pair) == 200) is (status == 200)


READERS = [("first", True), ("second", True), ("rotated", True), ("foreign", False)]


@pytest.mark.parametrize(("name", "is_read"), READERS)
def test_reasoning_state_of_another_process_is_read_only_with_the_secret(request, simulator, name, is_read):
    running = request.getfixturevalue(name)
    states = StateReader(MasterSecret.parse(OLD).key_for(REASONING_STATE), names_key=True, agent="billing")
    call_id = states.signed_id("call_1", [Reasoning("hm", signature("claude", "hm"), ModelMaker.CLAUDE)])
    call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "1"},
    ]
    asked = {"model": "to-anthropic", "messages": messages, "tools": [tool], "reasoning_effort": "low"}
    simulator.forget()
    token = TOKEN if is_read else running.issued
    response = chat(running, token, json.dumps(asked).encode())
    assert response.status == 200, response.body
    (seen,) = simulator.seen
    turns = [turn["content"] for turn in json.loads(seen.body)["messages"] if isinstance(turn["content"], list)]
    assert ("thinking" in [block["type"] for blocks in turns for block in blocks]) is is_read


def test_a_token_names_its_key_and_only_the_new_secret_signs(first, second, rotated, foreign):
    kids = {
        running: jwt.get_unverified_header(token_of(running, first.issued.credentials))["kid"]
        for running in (first, second, rotated, foreign)
    }
    assert kids[first] == kids[second] != kids[rotated] == kids[foreign]
    published = httpx.get(f"http://{rotated.console}/.well-known/jwks.json", trust_env=False).json()["keys"]
    assert [key["kid"] for key in published] == [kids[rotated], kids[first]]
    newer = token_of(rotated, first.issued.credentials)
    assert [chat_status(running, newer) for running in (rotated, foreign, first)] == [200, 200, 401]


def test_no_key_is_kept_in_the_state_folder(first, second, rotated):
    for running in (first, second, rotated):
        assert not {"aws-master.key", "jwt-keys.json"} & {file.name for file in running.state.iterdir()}


def test_the_secret_is_in_no_file_and_no_output(first, second, rotated):
    assert chat_status(rotated, "wrong") == 401
    shown = command(rotated, "config", "show")
    assert shown.returncode == 0
    assert b"MASTER_0" in shown.stdout
    content = shown.stdout + shown.stderr
    for running in (first, second, rotated):
        content += b"".join(file.read_bytes() for file in running.folder.rglob("*") if file.is_file())
    assert first.issued.pair.secret.reveal().encode() not in content
    for text in (OLD, NEW):
        raw = base64.b64decode(text)
        for form in (text.encode(), raw.hex().encode(), raw, base64.urlsafe_b64encode(raw)):
            assert form not in content


def command(running, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """Run a command of Wirekey with the configuration and the environment of a replica."""
    return subprocess.run(
        [sys.executable, "-m", "wirekey", *arguments, "--config", "wirekey.yaml"],
        cwd=running.folder,
        env={**running.environ, **environ},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("secret", "words"),
    [("", "MASTER_0 is not set"), (secrets.token_hex(16), "has 16 bytes"), ("Zm9v" * 12, "repeats itself")],
    ids=["missing", "short", "repeated"],
)
def test_a_weak_secret_stops_the_start_with_its_setting_and_the_fix(rotated, tmp_path, secret, words):
    for arguments in (("config", "check"), ("serve",), ("agents", "list")):
        done = command(rotated, *arguments, MASTER_0=secret, WIREKEY_STATE=str(tmp_path / "state"))
        output = (done.stdout + done.stderr).decode()
        assert done.returncode != 0
        assert words in output
        assert "secrets.master" in output
        assert not secret or secret not in output


def test_a_pair_that_the_command_line_creates_is_valid(second):
    assert command(second, "agents", "add", "dave").returncode == 0
    shown = json.loads(command(second, "agents", "aws-key", "dave", "--json").stdout)
    pair = KeyPair(shown["access_key_id"], Secret(shown["secret_access_key"]))
    assert aws_status(second, pair) == 200
    assert not (second.state / "aws-master.key").exists()
