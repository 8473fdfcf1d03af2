"""Ctrl-C and SIGTERM end Wirekey at once and cleanly. Calls in flight are in the audit."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.load import chat, tunnel
from tests.support.ports import free_port
from tests.support.running import wait_for, wirekey_behind

AT_ONCE = 10.0
"""Seconds, on a slow and busy machine. Every time limit inside Wirekey that could delay the end is much longer."""


@pytest.mark.parametrize(
    ("signals", "web"),
    [
        ([signal.SIGINT], False),
        ([signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGINT], False),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGINT], True),
    ],
    ids=["Ctrl-C", "SIGTERM", "Ctrl-C twice", "all of them, with mitmweb"],
)
def test_a_signal_ends_wirekey_at_once_and_calls_in_flight_are_recorded(tmp_path, simulator, signals, web):
    simulator.forget()
    arguments = ["--web", "--web-port", str(free_port())] if web else []
    with wirekey_behind(tmp_path, simulator, *arguments) as proxy:
        token = proxy.add_agent("alice")
        clients = [tunnel(proxy, token) for _ in range(7)]
        clients[0].send(chat("done"))
        assert clients[0].read_response().status == 200
        for number, client in enumerate(clients[1:4]):
            client.send(chat(f"sim-stall-{number + 1}", stream=True))
        clients[4].send(chat("sim-headers-delay-60"))
        clients[5].send(chat("half a request")[:-10])
        wait_for(lambda: len(simulator.seen) == 5, "the requests to arrive")
        for client in clients[1:4]:
            assert client.receive_bytes().startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        for number in signals:
            proxy.process.send_signal(number)
            time.sleep(0.05)
        assert proxy.process.wait(AT_ONCE) == 0
        print(f"ended within {time.monotonic() - began:.2f} s")
        for client in clients:
            client.socket.close()
        outcomes = {event["requested_model"]: event["outcome"] for event in proxy.events()}
        assert outcomes.pop("done") == "completed"
        assert outcomes[None] == "interrupted", "the call whose request was half there"
        in_flight = {"sim-stall-1", "sim-stall-2", "sim-stall-3", "sim-headers-delay-60"}
        assert {model: outcomes.get(model) for model in in_flight} == dict.fromkeys(in_flight, "interrupted")
        said = proxy.output.read_text()
        assert "Traceback" not in said
        assert "never" not in said, "a task or coroutine was left behind"
        assert not (proxy.state / "running.json").exists()
        proxy.start()
        assert proxy.stop() == 0
