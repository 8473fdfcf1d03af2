"""Tokens, provider keys and settings change under load, again and again: no request fails, and the new ones are used.

WIREKEY_ROTATIONS says how often (50 for a release; a few in the suite).
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
from collections import Counter

import pytest

from tests.support.load import chat, now, tunnel
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, SimulatorThread, Wirekey, behind, wait_for

pytestmark = pytest.mark.alone

ROTATIONS = int(os.environ.get("WIREKEY_ROTATIONS", "8"))
CLIENTS = 16
CALLS_OF_A_CONNECTION = 10
OVERLAP = 3600
"""Seconds that a token is good for after it was replaced."""
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
KEYS = [f"sk-rotated-{number}" for number in range(ROTATIONS + 1)]


class Rotation:
    """Changes of an operator, in turn: a key in .env, a key in a file, a setting, and the token each time."""

    def __init__(self, folder, simulator) -> None:
        self.folder, self.simulator = folder, simulator
        self.in_dotenv = self.in_file = KEYS[0]
        self.headers = 50
        folder.mkdir(parents=True)
        self.write()
        self.proxy = Wirekey(folder, self.settings(), environ=KEY_ENVIRONMENT)
        self.token = self.proxy.add_agent("alice")
        self.log_read = 0
        self.times_in_use = 0

    def settings(self) -> dict:
        own = {"listen": LISTEN, "limits": {"headers": self.headers, "connections_per_client": 1000}}
        settings = behind(self.simulator, log={"format": "json", "level": "info"}, **own)
        settings["providers"]["openai"]["keys"] = ["env:ROTATED", "file:key.txt"]
        return settings

    def write(self) -> None:
        self.put(".env", f"ROTATED={self.in_dotenv}\n")
        self.put("key.txt", self.in_file + "\n")

    def put(self, name: str, text: str) -> None:
        """Write a file in one go, as secrets are mounted and editors write."""
        new = self.folder / "new"
        new.write_text(text)
        new.replace(self.folder / name)

    def turn(self, number: int) -> None:
        if number % 3 == 0:
            self.in_dotenv = KEYS[number]
            self.put(".env", f"ROTATED={self.in_dotenv}\n")
        elif number % 3 == 1:
            self.in_file = KEYS[number]
            self.put("key.txt", self.in_file + "\n")
        else:
            self.headers += 1
            places = {"state": str(self.proxy.state), "certs": str(self.proxy.certs)}
            self.put("wirekey.yaml", json.dumps(self.settings() | places))
        self.token = self.proxy.agents.rotate("alice", OVERLAP)
        wait_for(lambda: self.in_use() >= number, f"change {number} to be in use")

    def in_use(self) -> int:
        with self.proxy.output.open() as log:
            log.seek(self.log_read)
            text = log.read()
            whole = text[: text.rfind("\n") + 1]
            self.log_read += len(whole.encode())
        self.times_in_use += whole.count("The changed configuration is in use")
        return self.times_in_use


class Callers:
    """Half of them use the proxy, half the gateway. Every other call is streamed."""

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation
        self.answers: Counter = Counter()
        self.numbers = itertools.count()
        self.stop = threading.Event()
        ways = [self.by_proxy, self.by_gateway]
        self.threads = [threading.Thread(target=self.call_on, args=(ways[n % 2],)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def call_on(self, way) -> None:
        while not self.stop.is_set():
            try:
                way()
            except Exception as error:
                self.answers[repr(error)] += 1

    def by_proxy(self) -> None:
        with tunnel(self.rotation.proxy, self.rotation.token) as client:
            for _ in range(CALLS_OF_A_CONNECTION):
                stream = next(self.numbers) % 2 == 0
                client.send(chat("gpt-4o-mini", stream=stream))
                answer = client.read_response()
                self.count("proxy", stream, answer.status, answer.body)

    def by_gateway(self) -> None:
        connection = http.client.HTTPConnection(self.rotation.proxy.running.gateway, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {self.rotation.token}", "content-type": "application/json"}
        try:
            for _ in range(CALLS_OF_A_CONNECTION):
                stream = next(self.numbers) % 2 == 0
                body = chat("gpt-4o-mini", stream=stream).partition(b"\r\n\r\n")[2]
                connection.request("POST", "/v1/chat/completions", body, headers)
                answer = connection.getresponse()
                self.count("gateway", stream, answer.status, answer.read())
        finally:
            connection.close()

    def count(self, way: str, stream: bool, status: int, body: bytes) -> None:
        whole = b"data: [DONE]" in body if stream else b'"finish_reason"' in body
        self.answers[way, stream, status, whole] += 1

    def end(self) -> Counter:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a client hangs"
        return self.answers


@pytest.fixture
def rotating_simulator(tmp_path):
    running = SimulatorThread(tmp_path / "simulator", keys={"openai": KEYS})
    yield running
    running.stop()


def test_tokens_keys_and_settings_change_under_load_and_no_request_fails(tmp_path, rotating_simulator):
    rotation = Rotation(tmp_path / "wirekey", rotating_simulator)
    proxy = rotation.proxy
    began = now()
    callers = Callers(rotation)
    try:
        for number in range(1, ROTATIONS + 1):
            rotation.turn(number)
            enough = callers.answers.total() + 2 * CLIENTS
            wait_for(lambda: callers.answers.total() >= enough, "calls to go on")  # noqa: B023  # called at once
    finally:
        answers = callers.end()
    print(ROTATIONS, answers)
    assert set(answers) == {(way, stream, 200, True) for way in ("proxy", "gateway") for stream in (False, True)}
    events = proxy.finished_events(answers.total(), began)
    assert len(events) == answers.total()
    assert {(event["outcome"], event["attempts"], event["agent_id"]) for event in events} == {("completed", 1, "alice")}
    rotating_simulator.forget()
    for _ in range(2):
        with tunnel(proxy, rotation.token) as client:
            client.send(chat("gpt-4o-mini"))
            assert client.read_response().status == 200
    sent = {dict(seen.headers)[b"authorization"].decode() for seen in rotating_simulator.seen}
    assert sent == {f"Bearer {rotation.in_dotenv}", f"Bearer {rotation.in_file}"}
    said = proxy.output.read_text()
    assert "is not used" not in said
    assert "Traceback" not in said
    assert proxy.stop() == 0
