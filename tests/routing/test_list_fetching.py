"""The providers' lists are fetched in a thread and kept for ten minutes, or longer if a new list cannot be fetched."""

from __future__ import annotations

import asyncio
import http.server
import logging
import ssl
import threading
from typing import ClassVar

import pytest

from wirekey.core.routing import list_fetching
from wirekey.core.routing.list_fetching import GOOD_FOR, ListError, ModelLists, Question, ask
from wirekey_simulator.certificate import prepare_certificate

PLACES = {"openai": "api.openai.com"}


class Provider:
    """A provider that returns `models` or raises `error`, and counts requests. `gate` holds its responses back."""

    def __init__(self) -> None:
        self.models, self.error, self.asked = ["one"], None, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 0.0
        self.lists = ModelLists(self.fetch, lambda: self.now)

    async def fetch(self, provider):
        self.asked += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return [{"data": [{"id": name} for name in self.models]}]

    async def names(self, patience=30.0, places=PLACES):
        known = await self.lists.known(places, patience)
        return [entry.id for entries in known.lists.values() for entry in entries]

    async def landed(self):
        while any(kept.flight for kept in self.lists._kept.values()):
            await asyncio.sleep(0)


async def test_the_first_request_waits_for_the_list_and_the_list_is_kept():
    provider = Provider()
    assert await provider.names() == ["one"]
    provider.now = GOOD_FOR - 1
    assert await provider.names() == ["one"]
    assert provider.asked == 1


async def test_an_old_list_is_returned_while_a_new_one_is_fetched():
    provider = Provider()
    await provider.names()
    provider.now, provider.models = GOOD_FOR + 1, ["two"]
    provider.gate.clear()
    assert await provider.names() == ["one"]
    assert await provider.names() == ["one"]
    provider.gate.set()
    await provider.landed()
    assert await provider.names() == ["two"]
    assert provider.asked == 2


@pytest.mark.parametrize("error", [ListError("it responds with status 500", 500), RuntimeError("with a secret")])
async def test_the_old_list_stays_if_a_new_one_cannot_be_fetched(error, caplog):
    provider = Provider()
    await provider.names()
    provider.now, provider.error = GOOD_FOR + 1, error
    with caplog.at_level(logging.WARNING):
        await provider.names()
        await provider.landed()
        assert await provider.names() == ["one"]
    assert provider.asked == 2
    assert "The previous list stays in use." in caplog.text
    assert "secret" not in caplog.text


async def test_without_any_list_the_reason_is_reported_and_the_fetch_is_repeated_soon():
    provider = Provider()
    provider.error = ListError("it responds with status 401", 401)
    assert (await provider.lists.known(PLACES)).troubles == {"openai": "it responds with status 401"}
    assert (await provider.lists.known(PLACES)).lists == {}
    assert provider.asked == 1
    provider.now, provider.error = list_fetching.BETWEEN_FETCHES + 1, None
    assert await provider.names() == ["one"]


async def test_a_request_waits_only_for_a_limited_time():
    provider = Provider()
    provider.gate.clear()
    known = await provider.lists.known(PLACES, patience=0.01)
    assert known.troubles == {"openai": "it has not responded yet"}
    provider.gate.set()
    await provider.landed()
    assert await provider.names() == ["one"]
    assert provider.asked == 1


async def test_another_upstream_has_another_list():
    provider = Provider()
    await provider.names()
    provider.models = ["two"]
    assert await provider.names(places={"openai": "llm.corp.example"}) == ["two"]


# Requests over the wire.


class ListHandler(http.server.BaseHTTPRequestHandler):
    replies: ClassVar[dict] = {}
    seen: ClassVar[list] = []

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers)))
        status, body = self.replies[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    certificate, root = prepare_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ListHandler.replies, ListHandler.seen = {}, []
    with http.server.HTTPServer(("127.0.0.1", 0), ListHandler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        listening.root = str(root)
        yield listening
        listening.shutdown()


def question(server, *targets, configured=True, host="127.0.0.1", trusted=None):
    requests = tuple((target, {"Host": "h", "x-api-key": "k"}) for target in targets)
    return Question("openai", host, server.server_port, configured, trusted or server.root, requests)


def test_the_documents_are_in_the_order_of_the_requests(server):
    ListHandler.replies = {"/a": (200, b'{"data":[]}'), "/b": (200, b"[1]")}
    assert ask(question(server, "/a", "/b")) == [{"data": []}, [1]]
    assert [(path, headers["x-api-key"], headers["Host"]) for path, headers in ListHandler.seen] == [
        ("/a", "k", "h"),
        ("/b", "k", "h"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, b'{"error":"the key sk-x is wrong"}', "it responds with status 401"),
        (302, b"", "it responds with status 302"),
        (200, b"<html>", "its response is not JSON"),
        (200, b"[" + b" " * list_fetching.MOST_BYTES + b"]", "longer than"),
    ],
)
def test_a_response_that_is_not_a_list_is_reported_without_its_content(server, status, body, says):
    ListHandler.replies = {"/a": (status, body)}
    with pytest.raises(ListError, match=says) as raised:
        ask(question(server, "/a"))
    assert "sk-x" not in str(raised.value)
    assert raised.value.status == (status if status != 200 else None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1"])
def test_D3_an_address_inside_is_not_dialled_unless_an_operator_named_it(server, host):
    ListHandler.replies = {"/a": (200, b"{}")}
    with pytest.raises(ListError, match="resolves to"):
        ask(question(server, "/a", configured=False, host=host))
    assert ListHandler.seen == []


def test_no_key_is_sent_to_an_untrusted_server(server, tmp_path):
    _, another = prepare_certificate(tmp_path / "another")
    with pytest.raises(ListError, match="certificate is not trusted"):
        ask(question(server, "/a", trusted=str(another)))
    assert ListHandler.seen == []
