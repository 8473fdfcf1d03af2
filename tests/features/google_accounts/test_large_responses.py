"""The envelope of a large response of Code Assist is removed in a thread, so that other calls go on meanwhile."""

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest
from mitmproxy import http

from tests.calls.test_attempt import Sent
from tests.calls.test_large_translated_responses import CHAT, PATIENCE, ROUTE, response_of
from wirekey.core.addons.metering import Metering
from wirekey.core.calls.attempt_rewrite import AT_ONCE
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.wire.delegate import ResponseRefused
from wirekey.features.google_accounts import steps as code_assist
from wirekey.features.google_accounts.steps import TOO_LARGE, UNREADABLE, AccountCall, EnvelopeRemoval
from wirekey.features.translation import attempt_response

LIMIT = 16 * AT_ONCE
TEXT = "word " * (AT_ONCE // 2)


def in_main_thread():
    return threading.current_thread() is threading.main_thread()


def wrapped(response):
    return b'{"response": %b, "traceId": "1"}' % response


class Held:
    """A call to Code Assist whose whole response was received, but not its end."""

    def __init__(self, folder, body, *, route="", status=200, limit=LIMIT):
        self.sent = Sent(folder, route, body=CHAT).admitted()
        self.notes = []
        settings = SimpleNamespace(looks_up=True)
        backend = SimpleNamespace(settings=settings, note_error=lambda *_: self.notes.append(in_main_thread()))
        account = AccountCall(backend, SimpleNamespace(), None, None, "generateContent", as_array=False)
        self.response = self.sent.flow.response = http.Response.make(status, b"", {"content-type": "application/json"})
        self.metering = Metering(self.sent.services)
        self.metering.change_of = lambda _, response: EnvelopeRemoval(account, response, None, limit)
        self.metering.responseheaders(self.sent.flow)
        self.tap = self.response.stream
        for start in range(0, len(body), 16 * 1024):
            assert self.tap(body[start : start + 16 * 1024]) == []

    @property
    def is_large(self):
        return CallDelegate(self.sent.services).holds_large_response(self.sent.flow)

    async def finish(self):
        await self.metering.held_response(self.sent.flow)


@pytest.fixture
def threads(monkeypatch):
    """Note in which threads envelopes are removed and responses are translated."""
    found = []

    def noting(name, work):
        def noted(*given):
            found.append((name, in_main_thread()))
            return work(*given)

        return noted

    monkeypatch.setattr(code_assist, "unwrapped", noting("unwrapped", code_assist.unwrapped))
    monkeypatch.setattr(
        attempt_response, "translate_response", noting("translated", attempt_response.translate_response)
    )
    return found


async def test_the_event_loop_goes_on_while_an_envelope_is_removed(tmp_path, monkeypatch):
    begun, go_on, unwrapped = threading.Event(), threading.Event(), code_assist.unwrapped

    def unwrap(document):
        begun.set()
        assert go_on.wait(PATIENCE), "nothing else ran while an envelope was removed"
        return unwrapped(document)

    monkeypatch.setattr(code_assist, "unwrapped", unwrap)
    held = await asyncio.to_thread(Held, tmp_path, wrapped(response_of(TEXT)))
    assert held.is_large
    finishing = asyncio.create_task(held.finish())
    await asyncio.to_thread(begun.wait, PATIENCE)
    assert not finishing.done()
    go_on.set()
    await finishing
    assert b"".join(held.tap(b"")) == response_of(TEXT)
    assert held.response.headers["content-length"] == str(len(response_of(TEXT)))


async def test_a_large_response_loses_its_envelope_and_is_translated_in_a_thread(tmp_path, threads):
    held = await asyncio.to_thread(Held, tmp_path, wrapped(response_of(TEXT)), route=ROUTE)
    assert held.is_large
    await held.finish()
    said = json.loads(b"".join(held.tap(b"")))
    assert said["choices"][0]["message"]["content"] == TEXT
    assert said["usage"]["total_tokens"] == 3
    assert threads == [("unwrapped", False), ("translated", False)]


def test_a_small_response_loses_its_envelope_at_its_end(tmp_path):
    held = Held(tmp_path, wrapped(response_of("word")))
    assert not held.is_large
    assert b"".join(held.tap(b"")) == response_of("word")


@pytest.mark.parametrize("route", ["", ROUTE], ids=["own format", "translated"])
async def test_what_cannot_be_read_is_refused_at_the_end(tmp_path, route):
    held = await asyncio.to_thread(Held, tmp_path, b"[" + wrapped(response_of(TEXT)), route=route)
    await held.finish()
    with pytest.raises(ResponseRefused) as refused:
        held.tap(b"")
    assert refused.value.refusal is UNREADABLE


async def test_a_large_response_may_not_exceed_the_limit_by_its_last_bytes(tmp_path):
    body = wrapped(response_of(TEXT))
    held = await asyncio.to_thread(Held, tmp_path, body, limit=len(body))
    held.tap.filter = type("Filter", (), {"end": lambda _: [b" "]})()
    await held.finish()
    with pytest.raises(ResponseRefused) as refused:
        held.tap(b"")
    assert refused.value.refusal is TOO_LARGE


async def test_the_bytes_that_the_search_for_the_key_held_back_belong_to_the_response(tmp_path):
    body = wrapped(response_of(TEXT))
    held = await asyncio.to_thread(Held, tmp_path, body[:-5])
    held.tap.filter = type("Filter", (), {"end": lambda _: [body[-5:]]})()
    await held.finish()
    assert b"".join(held.tap(b"")) == response_of(TEXT)


@pytest.mark.parametrize("route", ["", ROUTE], ids=["own format", "translated"])
async def test_a_large_error_is_noted_once_and_on_the_event_loop(tmp_path, threads, route):
    error = {"error": {"code": 400, "message": TEXT, "status": "INVALID_ARGUMENT"}}
    held = await asyncio.to_thread(Held, tmp_path, json.dumps(error).encode(), route=route, status=400)
    await held.finish()
    assert not held.notes
    assert "error" in json.loads(b"".join(held.tap(b"")))
    assert held.notes == [True]
