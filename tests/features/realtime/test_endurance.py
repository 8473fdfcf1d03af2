"""A day of sessions in miniature: many messages on one connection, and many connections, leave nothing behind.

WIREKEY_REALTIME_MESSAGES=100000 and WIREKEY_REALTIME_CONNECTIONS=5000 make it a long day, with more time for each test
(WIREKEY_TEST_SECONDS=3600). Figures are printed (-s).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from socket import SHUT_RDWR

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.features.metrics.exposition import Scraped
from tests.support.running import PATIENCE, SimulatorThread, wait_for, wirekey_behind

MESSAGES = int(os.environ.get("WIREKEY_REALTIME_MESSAGES", "2000"))
CONNECTIONS = int(os.environ.get("WIREKEY_REALTIME_CONNECTIONS", "100"))
GROWTH = 10 * 1024 * 1024
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
LIMITS = {"websocket": {"messages_per_second": 1_000_000, "bytes_per_second": 1 << 30}}
AT_ONCE = 20
"""Messages on the way at the same time."""
INSTRUCTIONS = "x" * 8000
"""mitmproxy's own layer would keep the messages: 30 MiB of 2000 each way."""


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    log = {"format": "json", "level": "warning"}
    folder = tmp_path_factory.mktemp("wirekey")
    with wirekey_behind(folder, simulator, listen=LISTEN, limits=LIMITS, log=log) as proxy:
        proxy.token = proxy.add_agent("alice")
        yield proxy


def opened(wirekey):
    url = f"ws://{wirekey.running.gateway}/v1/realtime?model=gpt-realtime"
    headers = {"Authorization": f"Bearer {wirekey.token}"}
    return connect(url, additional_headers=headers, proxy=None, close_timeout=PATIENCE, ping_interval=None)


def memory_of(process) -> int:
    """The resident memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptors_of(process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def mib(size: float) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def test_messages_of_a_long_connection_do_not_stay_in_memory(wirekey):
    """Each message of the client is judged, and gets one message of the provider: 8 KB each way."""

    def play(socket, count):
        for first in range(0, count, AT_ONCE):
            voices = [f"voice-{number}" for number in range(first, min(first + AT_ONCE, count))]
            for voice in voices:
                session = {"instructions": INSTRUCTIONS, "voice": voice}
                socket.send(json.dumps({"type": "session.update", "session": session}))
            assert [json.loads(socket.recv(PATIENCE))["session"]["voice"] for _ in voices] == voices

    with opened(wirekey) as socket:
        assert json.loads(socket.recv(PATIENCE))["type"] == "session.created"
        play(socket, MESSAGES // 10)
        sizes = [memory_of(wirekey.process)]
        for _ in range(10):
            play(socket, MESSAGES // 10)
            sizes.append(memory_of(wirekey.process))
    print(f"\n{MESSAGES} messages each way: {' '.join(mib(size) for size in sizes)}")
    assert sizes[-1] - sizes[0] < GROWTH


def condition(wirekey) -> Scraped:
    """The metrics of the process, once no session is open and no client is connected."""

    def quiet():
        with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
            found = Scraped(http.get(f"http://{wirekey.running.console}/metrics").text)
        names = ("wirekey_open_sessions", "wirekey_open_calls", "wirekey_client_connections")
        return None if any(found.total(name) for name in names) else found

    return wait_for(quiet, "all sessions to be over")


def test_connections_leave_no_memory_no_task_and_no_descriptor(wirekey, simulator):
    """They end in all ways: by the client and the provider, with and without a close, and during a response."""

    def one(number):
        end = ("closed", "left", "truncate-after=3", "no-done", "reset-after=5")[number % 5]
        if "-" in end:
            simulator.simulator.script.add(end)
        with opened(wirekey) as socket:
            socket.send('{"type":"response.create"}')
            heard = []
            try:
                while "response.done" not in heard:
                    heard.append(json.loads(socket.recv(PATIENCE))["type"])
                if end == "left":
                    socket.socket.shutdown(SHUT_RDWR)
                elif end != "closed":
                    socket.recv(PATIENCE)
            except ConnectionClosed:
                pass
            ends[end, "response.done" in heard] += 1

    def play(count):
        for number in range(count):
            one(number)
        simulator.forget()  # what it has seen, which is in the memory of the test
        return condition(wirekey)

    ends: Counter[tuple[str, bool]] = Counter()
    play(max(20, CONNECTIONS // 5))
    before, descriptors = condition(wirekey).total("wirekey_event_loop_tasks"), descriptors_of(wirekey.process)
    sizes = [memory_of(wirekey.process)]
    for _ in range(5):
        after = play(CONNECTIONS // 5)
        sizes.append(memory_of(wirekey.process))
    left = descriptors_of(wirekey.process) - descriptors
    tasks = after.total("wirekey_event_loop_tasks") - before
    print(f"\n{CONNECTIONS} connections: {' '.join(mib(size) for size in sizes)}, {tasks:+.0f} tasks, {left:+d} files")
    whole = {("closed", True), ("left", True), ("no-done", True)}
    assert set(ends) == whole | {("truncate-after=3", False), ("reset-after=5", False)}
    assert sizes[-1] - sizes[0] < GROWTH / 2
    # A connection of the pool, or one to the console, may be open at one time and closed at another.
    assert abs(tasks) < 10
    assert abs(left) < 10
