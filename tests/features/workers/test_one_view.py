"""Whichever worker responds, the console shows all of them."""

from __future__ import annotations

import contextlib
import json
import re
import threading

import pytest
from websockets.sync.client import connect

from tests.features.workers.conftest import LISTENERS
from tests.features.workers.test_workers import tags
from tests.support.load import chat, tunnel
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for

CALLS = 24


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    settings = behind(simulator, listen=LISTENERS, workers=2)
    running = Wirekey(tmp_path_factory.mktemp("view"), settings, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent()
    yield running
    running.stop()


def read(proxy, path: str, *lines: str, method: str = "GET", body: bytes = b""):
    """The response on a new connection, which any worker may accept."""
    with RawClient(proxy.running.console) as client:
        head = [f"{method} {path} HTTP/1.1", f"Host: {proxy.running.console}", *lines, f"Content-Length: {len(body)}"]
        client.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        return client.read_response()


def call(proxy, count: int, prefix: str) -> None:
    """Make calls at the same time, so that both workers get some."""

    def one(number: int) -> None:
        with tunnel(proxy, proxy.token) as client:
            client.send(chat(f"{prefix}-{number}"))
            assert client.read_response().status == 200

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def completed(text: str) -> float:
    found = re.search(r'^wirekey_calls_total\{outcome="completed",provider="openai"\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_the_metrics_of_each_response_are_those_of_all_workers(proxy):
    before = completed(read(proxy, "/metrics").body.decode())
    call(proxy, CALLS, "metrics")
    proxy.finished_events(CALLS)
    assert len(tags(proxy)) == 2, "one worker had all calls: the test shows nothing"
    texts = []

    def settled() -> bool:
        texts.append(read(proxy, "/metrics").body.decode())
        return completed(texts[-1]) == before + CALLS

    for _ in range(6):
        wait_for(settled, "all calls in the metrics", 10)
    (build,) = re.findall(r"^wirekey_build_info\{.*\} (\S+)$", texts[-1], re.MULTILINE)
    assert float(build) == 1
    assert re.search(r'^wirekey_ready\{part="audit"\} 1.0$', texts[-1], re.MULTILINE)


def test_a_sign_in_holds_at_every_worker_and_a_sign_out_too(proxy):
    key = (proxy.state / "console-token").read_text().strip()
    json_body = ("Content-Type: application/json", "Sec-Fetch-Site: same-origin")
    signed_in = read(proxy, "/console/sign-in", *json_body, method="POST", body=json.dumps({"key": key}).encode())
    assert signed_in.status == 200, signed_in
    cookie = "Cookie: " + signed_in.headers["set-cookie"].partition(";")[0]

    def statuses() -> set[int]:
        return {read(proxy, "/console/state", cookie).status for _ in range(8)}

    wait_for(lambda: statuses() == {200}, "the session everywhere")
    state = read(proxy, "/console/state", cookie).json()
    assert [worker["trouble"] for worker in state["workers"]] == [None, None]
    assert read(proxy, "/console/sign-out", *json_body, cookie, method="POST", body=b"{}").status == 200
    wait_for(lambda: statuses() == {401}, "its end everywhere")


def test_an_open_page_shows_the_calls_of_all_workers(proxy):
    key = (proxy.state / "console-token").read_text().strip()
    json_body = ("Content-Type: application/json", "Sec-Fetch-Site: same-origin")
    signed_in = read(proxy, "/console/sign-in", *json_body, method="POST", body=json.dumps({"key": key}).encode())
    cookie = "Cookie: " + signed_in.headers["set-cookie"].partition(";")[0]

    def opened():
        client = RawClient(proxy.running.console)
        head = ["GET /console/events HTTP/1.1", f"Host: {proxy.running.console}", cookie]
        client.send("\r\n".join(head).encode() + b"\r\n\r\n")
        first = client.receive_bytes()
        if first.startswith(b"HTTP/1.1 200"):
            return client
        client.socket.close()
        return None

    with wait_for(opened, "the stream of events") as page:
        seen = b""
        shown: set[str] = set()
        while len(shown) < CALLS:
            call(proxy, CALLS, "page")
            page.socket.settimeout(1)
            try:
                seen += page.socket.recv(1 << 20)
            except TimeoutError:
                continue
            shown = {f"page-{number}" for number in range(CALLS) if f'"page-{number}"'.encode() in seen}


SESSIONS = 8


def test_each_worker_shows_the_open_sessions_of_all(proxy):
    key = (proxy.state / "console-token").read_text().strip()
    json_body = ("Content-Type: application/json", "Sec-Fetch-Site: same-origin")
    signed_in = read(proxy, "/console/sign-in", *json_body, method="POST", body=json.dumps({"key": key}).encode())
    cookie = "Cookie: " + signed_in.headers["set-cookie"].partition(";")[0]

    def shown() -> list[tuple[int, list[str], int]]:
        found = [read(proxy, "/console/state", cookie) for _ in range(8)]
        sessions = [each.json()["sessions"] for each in found if each.status == 200]
        return [
            (each["count"], [row["model"] for row in each["rows"]], sum(row["responses"] for row in each["rows"]))
            for each in sessions
        ]

    models = [f"gpt-realtime-{number}" for number in range(SESSIONS)]
    with contextlib.ExitStack() as stack:
        for model in models:
            url = f"ws://{proxy.running.gateway}/v1/realtime?model={model}"
            headers = {"Authorization": f"Bearer {proxy.token}"}
            socket = stack.enter_context(connect(url, additional_headers=headers, proxy=None))
            socket.send('{"type":"response.create"}')
            while json.loads(socket.recv(PATIENCE))["type"] != "response.done":
                pass
        wait_for(lambda: shown() == [(SESSIONS, models, SESSIONS)] * 8, "all sessions at each worker")
        line = f'wirekey_open_sessions{{operation="realtime",provider="openai"}} {SESSIONS}.0'
        wait_for(lambda: line in read(proxy, "/metrics").body.decode().splitlines(), "all sessions in the metrics")
    wait_for(lambda: shown() == [(0, [], 0)] * 8, "their end")
