"""A large response that is translated as a whole is translated in a thread, so that other calls go on meanwhile."""

import asyncio
import json
import threading

import pytest
from mitmproxy import http

from tests.calls.test_attempt import Sent
from wirekey.core.addons.metering import Metering
from wirekey.core.calls.attempt_rewrite import AT_ONCE
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.wire.delegate import ResponseRefused
from wirekey.features.translation import attempt_response
from wirekey.features.translation.responses import translate_response

ROUTE = "routes: [{match: 'gpt-*', provider: gemini, model: gemini-2.5-flash, speaks: gemini}]\n"
CHAT = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}'
PATIENCE = 60


def response_of(text):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    return json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()


class Held:
    """A translated call whose whole response was received, but not its end."""

    def __init__(self, folder, size, more=""):
        self.sent = Sent(folder, ROUTE + more, body=CHAT).admitted()
        self.text = "word " * (size // 5)
        body = response_of(self.text)
        self.sent.flow.response = http.Response.make(200, b"", {"content-type": "application/json"})
        self.metering = Metering(self.sent.services)
        self.metering.responseheaders(self.sent.flow)
        self.tap = self.sent.flow.response.stream
        for start in range(0, len(body), 16 * 1024):
            assert self.tap(body[start : start + 16 * 1024]) == []

    @property
    def is_large(self):
        return CallDelegate(self.sent.services).holds_large_response(self.sent.flow)

    def end(self):
        return json.loads(b"".join(self.tap(b"")))["choices"][0]["message"]["content"]


@pytest.fixture
def blocked(monkeypatch):
    """Events: a translation has begun, and it may go on. The test fails if nothing else runs before that."""
    begun, go_on = threading.Event(), threading.Event()

    def translate(*given):
        begun.set()
        assert go_on.wait(PATIENCE), "nothing else ran while a response was translated"
        return translate_response(*given)

    monkeypatch.setattr(attempt_response, "translate_response", translate)
    return begun, go_on


async def test_the_event_loop_goes_on_while_a_large_response_is_translated(tmp_path, blocked):
    begun, go_on = blocked
    held = await asyncio.to_thread(Held, tmp_path, 2 * AT_ONCE)
    assert held.is_large
    translating = asyncio.create_task(held.metering.held_response(held.sent.flow))
    await asyncio.to_thread(begun.wait, PATIENCE)
    assert not translating.done()
    go_on.set()
    await translating
    assert held.end() == held.text
    assert held.sent.call.status == 200
    assert held.sent.flow.response.headers["content-length"]
    assert held.sent.call.translation == "openai.chat>gemini"


async def test_one_large_response_is_translated_at_a_time(tmp_path, blocked):
    begun, go_on = blocked
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = await asyncio.to_thread(Held, tmp_path / "first", 2 * AT_ONCE)
    second = await asyncio.to_thread(Held, tmp_path / "second", 2 * AT_ONCE)
    second.sent.services.one_rewrite = first.sent.services.one_rewrite
    tasks = [asyncio.create_task(held.metering.held_response(held.sent.flow)) for held in (first, second)]
    await asyncio.to_thread(begun.wait, PATIENCE)
    assert second.tap.last_parts is None
    go_on.set()
    await asyncio.gather(*tasks)
    assert (first.end(), second.end()) == (first.text, second.text)


def test_a_small_response_is_translated_at_its_end(tmp_path):
    held = Held(tmp_path, AT_ONCE // 2)
    assert not held.is_large
    assert held.end() == held.text


async def test_a_thread_that_fails_leaves_the_work_to_the_end(tmp_path, monkeypatch):
    held = await asyncio.to_thread(Held, tmp_path, 2 * AT_ONCE)
    monkeypatch.setattr(attempt_response, "translate_response", lambda *_: 1 / 0)
    await held.metering.held_response(held.sent.flow)
    with pytest.raises(ResponseRefused, match="wirekey_error"):
        held.tap(b"")


async def test_a_large_response_may_not_exceed_the_limit_by_its_last_bytes(tmp_path, monkeypatch):
    held = await asyncio.to_thread(Held, tmp_path, 2 * AT_ONCE)
    held.tap.rewrite.limit = len(held.tap.rewrite.held)
    held.tap.filter = type("Filter", (), {"end": lambda _: [b" "]})()
    await held.metering.held_response(held.sent.flow)
    with pytest.raises(ResponseRefused, match="cannot_translate_answer"):
        held.tap(b"")
