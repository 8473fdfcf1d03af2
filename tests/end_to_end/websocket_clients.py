"""What the tests of WebSockets share: a simulator, an agent, clients, and how a connection ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "realtime.md"
OPENAI_MODEL = "gpt-realtime"
BREAKS = [
    ("truncate-after=3", None, "upstream_reset"),
    ("reset-after=3", None, "upstream_reset"),
    ("garble-after=3", None, "upstream_reset"),
    ("error-after=3", 1011, "upstream_error"),
]
"""How a provider breaks a connection off, the code with which the client's is closed, and the outcome."""


@pytest.fixture(scope="module")
def token(wirekey):
    return wirekey.add_agent("alice", role="engineer")


@pytest.fixture(autouse=True)
def fresh(simulator, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    simulator.simulator.script.clear()
    simulator.forget()


@dataclass
class Way:
    """Where an SDK connects to, with which key and options."""

    base_url: str
    key: str
    options: dict


@contextlib.contextmanager
def dialled(wirekey, path, headers, **options):
    """A WebSocket of the gateway."""
    address = f"ws://{wirekey.running.gateway}{path}"
    options = {"proxy": None, "close_timeout": PATIENCE} | options
    with connect(address, additional_headers=headers, **options) as socket:
        yield socket


def refusal_of(opening) -> int:
    """The status with which a connection is refused."""
    with pytest.raises(InvalidStatus) as error, opening:
        pass
    return error.value.response.status_code


def drop_all(socket):
    while True:
        socket.recv(PATIENCE)


def closed(socket) -> tuple[int | None, str]:
    """The code and reason with which the connection is closed, if any. Messages before it are dropped."""
    with pytest.raises(ConnectionClosed) as error:
        drop_all(socket)
    return close_of(error.value)


def close_of(error: ConnectionClosed) -> tuple[int | None, str]:
    """The code and reason with which a connection was closed, if any."""
    return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (None, "")


def interrupted_calls(proxy) -> list[dict]:
    """The two calls that a Wirekey, which was killed, has recorded as interrupted."""

    def interrupted():
        events = proxy.events()
        return len(events) == 2 and all(event["outcome"] == "interrupted" for event in events) and events

    return wait_for(interrupted, "two interrupted calls")


def files_with(wirekey, text: str) -> list[Path]:
    """The files of a Wirekey that contain a text."""
    return [path for path in wirekey.folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def program_of(section: str) -> str:
    """The program in a section of the guide."""
    return re.search(r"```python\n(.*?)```", GUIDE.read_text().partition(f"## {section}\n")[2], re.DOTALL)[1]


# OpenAI's connections.


@pytest.fixture
def ways(simulator, wirekey, token):
    """The ways of OpenAI's SDK by name. None of them needs an environment variable."""
    trusting = ssl.create_default_context(cafile=wirekey.root)
    direct = ssl.create_default_context(cafile=simulator.ca_file)
    proxy = wirekey.proxy_url("alice", token)
    gateway = wirekey.running.gateway
    return {
        "direct": Way(f"{simulator.url}/v1", PROVIDER_KEYS["openai"], {"ssl": direct}),
        "proxy": Way("https://api.openai.com/v1", "no-key-at-all", {"ssl": trusting, "proxy": proxy}),
        "gateway": Way(f"http://{gateway}/v1", token, {"proxy": None}),
        "gateway, TLS": Way(f"https://{gateway}/api/v1/openai/v1", token, {"ssl": trusting, "proxy": None}),
        "gateway, compressed": Way(f"http://{gateway}/v1", token, {"proxy": None, "compression": "deflate"}),
    }


def plain(event) -> dict:
    """An event of OpenAI without its ids, which differ from one session to the next."""

    def without_ids(value):
        if isinstance(value, dict):
            return {name: without_ids(item) for name, item in value.items() if not name.endswith("id")}
        return [without_ids(item) for item in value] if isinstance(value, list) else value

    return without_ids(event.to_dict())


@contextlib.contextmanager
def opened(wirekey, token, *, path=f"/v1/realtime?model={OPENAI_MODEL}", headers=None, **options):
    """A WebSocket of OpenAI. Realtime's has said that its session was created."""
    headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    with dialled(wirekey, path, headers, **{"compression": None} | options) as socket:
        if path.startswith("/v1/realtime"):
            assert json.loads(socket.recv(PATIENCE))["type"] == "session.created"
        yield socket


def refused(wirekey, token, **options) -> int:
    return refusal_of(opened(wirekey, token, **options))


def say(socket, kind, **members):
    socket.send(json.dumps({"type": kind, **members}))


def until(socket, kind):
    """The next event of this type; those before it are dropped."""
    while True:
        event = json.loads(socket.recv(PATIENCE))
        if event["type"] == kind:
            return event


def run_with_openai(program: str, wirekey, token, folder) -> subprocess.CompletedProcess[str]:
    """Run a program whose OpenAI is the gateway, to its end."""
    (folder / "talk.py").write_text(program)
    base = {"OPENAI_API_KEY": token, "OPENAI_BASE_URL": f"http://{wirekey.running.gateway}/v1"}
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | base
    return subprocess.run(
        [sys.executable, "talk.py"], cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE
    )
