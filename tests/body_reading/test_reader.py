"""Large bodies are read in a child process: with the same result, while the event loop does other work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal

import pytest

from wirekey.core.body import Body, Spool
from wirekey.core.body_reading import reader as reader_module
from wirekey.core.body_reading.reader import BodyReader, ReadingFailedError
from wirekey.core.body_reading.reading import ALWAYS_READ_HERE, NEVER_READ_HERE, ReadTask, check_values, is_costly
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

LONG = "Some words, and é. " * 80_000
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("search", "fetch")]
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "bedrock": "/model/amazon.nova-lite-v1:0/converse",
}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": LONG}], "tools": TOOLS, "stream": True}
BODIES = [
    ("openai", CHAT),
    ("openai", CHAT | {"model": 1}),
    ("openai", CHAT | {"Model": "x"}),
    ("openai", [CHAT]),
    ("anthropic", {"model": "claude", "max_tokens": 7, "messages": [{"role": "user", "content": LONG}]}),
    ("gemini", {"contents": [{"role": "user", "parts": [{"text": LONG}]}], "generationConfig": {"maxOutputTokens": 9}}),
    ("bedrock", {"messages": [{"role": "user", "content": [{"text": LONG}]}], "inferenceConfig": {"maxTokens": 3}}),
    ("openai", {"model": "gpt-4o", "messages": [{"role": "user"}] * 60_000}),
    ("openai", {"model": "gpt-4o", "messages": [{}] * 300_000}),
]


@pytest.fixture
async def reader():
    made = BodyReader()
    yield made
    made.end()


def task(provider: str = "openai", limit: int = 500_000) -> ReadTask:
    operation = PROVIDERS[provider].operations.match_operation("POST", PATHS[provider], {})
    return ReadTask(provider, operation, {}, "application/json", limit)


def spooled(folder, data: bytes):
    spool = Spool(folder)
    spool.write(data)
    return spool.finish()


def outcome(read) -> object:
    """What was read, or the text of the refusal."""
    try:
        return read()
    except Refusal as refusal:
        return refusal.status, refusal.code, refusal.message


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(("provider", "content"), BODIES)
async def test_the_child_reads_what_would_be_read_here(reader, tmp_path, provider, content, in_file):
    data = json.dumps(content, ensure_ascii=False).encode()
    asked = task(provider)
    expected = outcome(
        lambda: PROVIDERS[provider].operations.read_request(asked.operation, {}, "application/json", data)
    )
    try:
        found = (await reader.read(asked, spooled(tmp_path, data) if in_file else data)).facts
    except Refusal as refusal:
        found = refusal.status, refusal.code, refusal.message
    if len(data) > 500_000 and isinstance(content, dict) and content.get("messages") == [{}] * 300_000:
        assert found[1] == "too_many_values"
    else:
        assert found == expected


async def test_all_of_a_refusal_arrives(reader, monkeypatch):
    refused = Refusal(429, "too_much", "Wait.", Fault.PROVIDER, retry_after=3, error_type="its_own")

    async def ask(*_):
        return refused

    monkeypatch.setattr(reader_module.Child, "ask", ask)
    with pytest.raises(Refusal) as raised:
        await reader.read(task(), b"{}")
    assert raised.value is refused
    copy = reader_module.pickle.loads(reader_module.pickle.dumps(refused))
    assert vars(copy) == vars(refused)


@pytest.mark.parametrize(
    "edits",
    [
        RequestEdits(model="gpt-5"),
        RequestEdits(max_tokens=5, include_usage=True),
        RequestEdits(model="gpt-5", max_tokens=1, clamp_temperature=True),
        RequestEdits(),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
async def test_a_body_that_was_read_apart_is_edited_without_reading_it_again(
    reader, tmp_path, edits, indent, monkeypatch
):
    data = json.dumps(CHAT | {"temperature": 2, "max_tokens": 100}, indent=indent).encode()
    operation = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
    body = spooled(tmp_path, data)
    reading = await reader.read(task(), body)
    body.values, body.spans = reading.values, reading.spans
    expected = PROVIDERS["openai"].operations.edit_request(operation, b"/v1", "application/json", data, edits)

    def split_again(found, place):
        raise AssertionError(place)

    monkeypatch.setattr("wirekey.providers.request_json._spans", split_again)
    edited = PROVIDERS["openai"].operations.edit_request(operation, b"/v1", "application/json", body, edits)
    assert bytes(memoryview(edited.body)) == bytes(expected.body)
    assert (edited.model_changed, edited.usage_requested) == (expected.model_changed, expected.usage_requested)


async def test_other_events_are_handled_while_a_body_is_read(reader, tmp_path):
    body = spooled(tmp_path, json.dumps(CHAT | {"messages": [{"content": "x" * (8 << 20)}]}).encode())
    turns, reading = 0, asyncio.create_task(reader.read(task(), body))
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert reading.result().facts.message_count == 1
    assert turns > len(body) // (256 * 1024)


async def test_a_caller_that_is_cancelled_leaves_nothing_for_the_next(reader, tmp_path):
    body = spooled(tmp_path, json.dumps(CHAT).encode())
    first = asyncio.create_task(reader.read(task(), body))
    while reader._child is None:
        await asyncio.sleep(0.001)
    child = reader._child
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    second = await reader.read(task("anthropic"), json.dumps({"model": "claude", "max_tokens": 8}).encode())
    assert (second.facts.model, second.facts.max_tokens) == ("claude", 8)
    assert reader._child is child, "it was not started again"


async def test_agents_take_turns(reader, tmp_path):
    body = spooled(tmp_path, json.dumps(CHAT).encode())
    order = []

    async def read(agent):
        await reader.read(task(), body, agent)
        order.append(agent)

    await asyncio.gather(*map(read, "aaaaabbc"))
    assert "".join(order) == "abcabaaa"


async def test_a_body_whose_caller_has_left_is_not_read(reader, tmp_path):
    body = spooled(tmp_path, json.dumps(CHAT).encode())
    first, *others = (asyncio.create_task(reader.read(task(), body, agent)) for agent in "aab")
    while reader._child is None:
        await asyncio.sleep(0.001)
    for other in others:
        other.cancel()
    assert (await first).facts.model == "gpt-4o"
    assert all(
        isinstance(result, asyncio.CancelledError) for result in await asyncio.gather(*others, return_exceptions=True)
    )
    assert not reader._reading


async def test_a_child_that_dies_fails_one_body_and_is_started_again(reader, tmp_path):
    body = spooled(tmp_path, json.dumps(CHAT).encode())
    await reader.read(task(), body)
    os.kill(reader.child_pid, signal.SIGSTOP)
    reading = asyncio.create_task(reader.read(task(), body))
    for _ in range(5):  # until the body is on its way to this child
        await asyncio.sleep(0)
    os.kill(reader.child_pid, signal.SIGKILL)
    with pytest.raises(ReadingFailedError):
        await reading
    assert (await reader.read(task(), body)).facts.model == "gpt-4o"


async def test_an_idle_child_ends_and_another_body_starts_one(reader, monkeypatch):
    await reader.read(task(), b"{}")
    process = reader._child._process
    monkeypatch.setattr(reader_module, "IDLE_SECONDS", 0.0)
    await reader.read(task(), b"{}")
    while reader.child_pid:
        await asyncio.sleep(0.001)
    assert process.poll() is not None
    monkeypatch.undo()
    for _ in range(2):
        assert (await reader.read(task(), b'{"model":"m"}')).facts.model == "m"
    assert reader.child_pid


async def test_a_child_that_hangs_is_killed(reader, tmp_path, monkeypatch):
    await reader.read(task(), b"{}" + b" " * ALWAYS_READ_HERE)
    monkeypatch.setattr(reader_module, "SECONDS", 0.01)
    process = reader._child._process
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(ReadingFailedError):
        await reader.read(task(), spooled(tmp_path, json.dumps(CHAT).encode()))
    assert process.poll() is not None


async def test_an_error_in_the_child_is_no_refusal_and_quotes_nothing(reader):
    with pytest.raises(ReadingFailedError) as failed:
        await reader.read(ReadTask("canary", task().operation, {}, "", 5), b'{"canary":1}')
    assert "KeyError at" in str(failed.value)
    assert "canary" not in str(failed.value)


async def test_the_child_ends_with_its_parents_socket(reader):
    await reader.read(task(), b"{}")
    process = reader._child._process
    reader._child._socket.close()
    assert await asyncio.to_thread(process.wait, 30) == 0


@pytest.mark.parametrize(
    ("body", "costly"),
    [
        (b"{}," * (ALWAYS_READ_HERE // 3), False),
        (b"{}," * ALWAYS_READ_HERE, True),
        (b"x" * NEVER_READ_HERE, False),
        (b"x" * (NEVER_READ_HERE + 1), True),
        (b"A sentence with one comma, of a length that is usual in texts for people. " * 7_000, False),
    ],
)
def test_a_body_is_read_apart_if_that_takes_long(body, costly):
    assert is_costly(body) is costly


@pytest.mark.parametrize("limit", [100, 10_000, 499_000])
@pytest.mark.parametrize("size", [1000, ALWAYS_READ_HERE, 3 * ALWAYS_READ_HERE, 1_000_000, NEVER_READ_HERE])
@pytest.mark.parametrize("item", [b"0,", b"{},", b"0" * 30 + b","])
def test_no_body_with_too_many_values_is_read_here(item, size, limit):
    data = b"[" + item * (size // len(item)) + b"0]"
    values = 1 + data.count(b",") + data.count(b"{") + data.count(b"[")
    refused = values > limit and not is_costly(data)
    with pytest.raises(Refusal) if refused else contextlib.nullcontext():
        if not is_costly(data):
            check_values(data, limit)


def test_a_body_in_a_file_is_read_apart(tmp_path):
    assert is_costly(spooled(tmp_path, b"{}"))
