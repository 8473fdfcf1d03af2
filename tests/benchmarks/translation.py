"""What translation costs: python -m tests.benchmarks.translation [--only requests|events|streams|large] [--rounds 3]

- requests: the time of a request of 64 KiB, a session of an agent with tools, between each two formats.
- events: the time of one event of a stream, between each two formats, fed one at a time.
- streams: 100 streams with an event every 20 ms, the time from an event's sending to its arrival, on a route that
  translates and on one that does not, in turns. The streams have their events one after the other, or all at once.
- large: bodies that a thread translates: how long the event loop was kept at most meanwhile, and how far memory rose.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import math
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import proxies
from tests.benchmarks.json_bodies import MIB, spooled
from tests.benchmarks.load import Target, connect, request
from tests.benchmarks.systems import Cores
from tests.features.translation.cases import MODELS, PLAIN, STATES
from tests.features.translation.streams import upstream_bytes
from wirekey.core.identity.agents import AgentStore
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator

REQUEST_BYTES = 64 * 1024
EVENTS = 400
STREAMS, PACE = 100, 0.02
WORDS = " some words of an answer"


# Requests.


def session(size: int) -> bytes:
    """Return a request of about so many bytes: ten tools, and turns with calls and results."""
    said: list[dict] = [{"role": "system", "content": "You are a careful assistant. " * 20}]
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    tools = [
        {"type": "function", "function": {"name": f"tool_{number}", "description": "Reads.", "parameters": parameters}}
        for number in range(10)
    ]
    for number in itertools.count():
        if len(body := json.dumps({"model": "m", "messages": said, "tools": tools})) > size:
            return body.encode()
        call = {"name": "tool_1", "arguments": json.dumps({"path": f"/src/file{number}.py"})}
        said += [
            {"role": "user", "content": "Please look at the file and explain what it does. " * 7},
            {
                "role": "assistant",
                "content": "I will read it.",
                "tool_calls": [{"id": f"call_{number}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"call_{number}", "content": "def f(x):\n    return x + 1\n" * 30},
            {"role": "assistant", "content": "The file defines a function. " * 10},
        ]
    raise AssertionError


def requests(rounds: int) -> None:
    first = session(REQUEST_BYTES)
    bodies = {"openai.chat": first} | {
        form: translate_request(FORMATS["openai.chat"], FORMATS[form], MODELS[form], first, STATES).body
        for form in FORMATS
        if form != "openai.chat"
    }
    print(f"milliseconds for a request of {len(first) // 1024} KiB, the best of {rounds * 20}")
    for client, body in bodies.items():
        shown = []
        for upstream in FORMATS:
            times = []
            for _ in range(rounds * 20):
                began = time.perf_counter()
                translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES)
                times.append(time.perf_counter() - began)
            shown.append(f"{upstream} {min(times) * 1000:.2f}")
        print(f"  {client:17}> " + "  ".join(shown))


# Events.


def frames(events: list[dict]) -> list[dict]:
    """Return events of Anthropic's in the frames of InvokeModel."""
    return [{"chunk": {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}} for event in events]


def chat_chunk(delta: dict, finish: str | None = None) -> dict:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def gemini_chunk(text: str, **finish: str) -> dict:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **finish}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 5}}


def streams_of_each() -> dict[str, list]:
    """Return the events of a stream of each format, nearly all of them one piece of text."""
    text = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": "resp_1", "model": "m", "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1}}
    claude = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}}] * EVENTS,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return {
        "openai.chat": [*[chat_chunk({"content": WORDS})] * EVENTS, chat_chunk({}, "stop"), "[DONE]"],
        "openai.responses": [
            {"type": "response.created", "response": response},
            *[{**text, "delta": WORDS, "sequence_number": 3}] * EVENTS,
            {"type": "response.completed", "response": response},
        ],
        "gemini": [*[gemini_chunk(WORDS)] * EVENTS, gemini_chunk(".", finishReason="STOP")],
        "anthropic": claude,
        "converse": [
            {"messageStart": {"role": "assistant"}},
            *[{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": WORDS}, "p": "abcdefgh"}}] * EVENTS,
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}}},
        ],
        "invoke": frames(claude),
    }


def events(rounds: int) -> None:
    print(f"microseconds for an event, the best of {rounds * 3} streams")
    for upstream, given in streams_of_each().items():
        pieces = [upstream_bytes(upstream, [event]) for event in given]
        shown = []
        for client in FORMATS:
            body = json.dumps(PLAIN[client]).encode()
            asked = translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES, stream=True)
            times = []
            for _ in range(rounds * 3):
                reply = Reply(asked.context, asked.conversation, STATES, 1, lambda: "0" * 24, "alt=sse")
                translator = StreamTranslator(reply)
                began = time.perf_counter()
                for piece in pieces:
                    translator.feed(piece)
                translator.end()
                times.append((time.perf_counter() - began) / len(pieces))
                assert translator.failure is None
            shown.append(f"{client} {min(times) * 1e6:.1f}")
        print(f"  {upstream:17}> " + "  ".join(shown))


# Streams through a Wirekey.

STAMP = re.compile(rb"@(\d+)@")
AT_ONCE = b"All events at once."
"""In a message: all streams have their events at the same moments."""


def stamped(form: str) -> tuple[list, dict, list]:
    """Return the events before, the repeated event and the events after it."""
    if form == "anthropic":
        whole = streams_of_each()["anthropic"]
        text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "@"}}
        return whole[:2], text, whole[-3:]
    return [], chat_chunk({"content": "@"}), [chat_chunk({}, "stop"), "[DONE]"]


class Schedule:
    """When each stream has its events: at fixed times, so that a delay of one event does not move those after it.

    The streams take turns, five of them in each millisecond, as asyncio waits for whole ones. A sender that waits from
    event to event would move them: all streams that it is late for at the same moment have their events at once from
    there on, and what is measured is how busy the machine was.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.streams = 0

    def phase(self, *, at_once: bool) -> float:
        """Return the time within each PACE at which the next stream has its events."""
        self.streams += 1
        return 0 if at_once else self.streams % STREAMS / STREAMS * PACE

    async def wait(self, phase: float, since: float, number: int) -> None:
        """Wait until an event of a stream that began `since` is due."""
        first = math.ceil((since - self.began - phase) / PACE)
        await asyncio.sleep(self.began + phase + (first + number) * PACE - time.monotonic())


async def answer(schedule: Schedule, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with a stream whose events say when they were sent."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
            phase = schedule.phase(at_once=AT_ONCE in body)
            form = "anthropic" if b"messages" in head.split(b"\r\n")[0] else "openai.chat"
            before, repeated, after = stamped(form)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            template = upstream_bytes(form, [repeated])

            writer.write(chunk(upstream_bytes(form, before) or b": begin\n\n"))
            began = time.monotonic()
            for number in range(EVENTS // 4):
                await schedule.wait(phase, began, number)
                writer.write(chunk(template.replace(b'"@"', b'"@%d@ some words"' % time.monotonic_ns())))
            writer.write(chunk(upstream_bytes(form, after)) + b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def upstream_process(port: int) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(partial(answer, Schedule()), "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def running_wirekey(folder: Path, upstream: int, cores: Cores) -> Iterator[tuple[int, Target]]:
    """Start a Wirekey with a route that translates (`translated`) and one that does not (`gpt-4o-mini`)."""
    gateway, url = proxies.free_port(), f"http://127.0.0.1:{upstream}"
    configuration = {
        "listen": {"forward": "127.0.0.1:0", "gateway": f"127.0.0.1:{gateway}", "console": None},
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "routes": [
            {"match": "translated", "provider": "anthropic", "model": "claude-sonnet-4-5", "upstream_url": url,
             "auth": "none"},
            {"match": "*", "provider": "openai", "upstream_url": url, "auth": "none"},
        ],
        "log": {"level": "warning"},
    }  # fmt: skip
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    arguments = [str(proxies.PYTHON), "-m", "wirekey", "serve", "--config", str(folder / "wirekey.yaml")]
    with proxies.process(arguments, folder) as running:
        cores.pin(running.pid)
        proxies.wait_for_port(gateway)
        token = AgentStore(folder / "state" / "agents.json").add("bench")
        time.sleep(2.5)  # until the agent is known
        yield running.pid, Target(gateway, "localhost", gateway, "", token)


async def transit(target: Target, model: str, *, at_once: bool) -> list[float]:
    """Return the times from the sending of each event to its arrival, over many streams. Seconds."""
    data = request(target, stream=True).replace(b"gpt-4o-mini", model.encode())
    data = data.replace(b"Please", AT_ONCE, 1) if at_once else data
    length = len(data.partition(b"\r\n\r\n")[2])
    data = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % length, data)
    delays: list[float] = []

    async def one() -> None:
        reader, writer = await connect(target, None)
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest += await reader.read(65536)
            now = time.monotonic_ns()
            last = 0
            for found in STAMP.finditer(rest):
                delays.append((now - int(found[1])) / 1e9)
                last = found.end()
            rest = rest[last:]
        writer.close()

    await asyncio.gather(*(one() for _ in range(STREAMS)))
    return delays


def compare(rounds: int, pid: int, target: Target, *, at_once: bool) -> None:
    """Measure both routes in turns, and print the medians and their ratio."""
    found: dict[str, list[float]] = {"gpt-4o-mini": [], "translated": []}
    spent: dict[str, list[float]] = {model: [] for model in found}
    for number in range(rounds):
        for model in sorted(found, reverse=bool(number % 2)):
            before = proxies.cpu_seconds(pid)
            delays = asyncio.run(transit(target, model, at_once=at_once))
            spent[model].append((proxies.cpu_seconds(pid) - before) / len(delays) * 1e6)
            found[model].append(statistics.median(delays) * 1000)
    for model, medians in found.items():
        spread = f"({min(medians):.2f}–{max(medians):.2f})"
        cpu = statistics.median(spent[model])
        print(f"    {model:15} p50 {statistics.median(medians):.2f} {spread}, CPU {cpu:.0f} µs an event")
    ratios = [after / before for before, after in zip(*found.values(), strict=True)]
    print(f"    ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})", flush=True)


def streams(rounds: int) -> None:
    cores = Cores.chosen()
    cores.pin_load()
    port = proxies.free_port()
    server = multiprocessing.Process(target=upstream_process, args=(port,), daemon=True)
    server.start()
    print(f"milliseconds of transit, {STREAMS} streams with an event every {PACE * 1000:.0f} ms")
    with tempfile.TemporaryDirectory() as made, running_wirekey(Path(made), port, cores) as (pid, target):
        for at_once in (False, True):
            print("  all events at once" if at_once else "  one event after the other")
            compare(rounds, pid, target, at_once=at_once)
    server.terminate()


# Large bodies.


def image() -> bytes:
    data = base64.b64encode(os.urandom(15 * MIB)).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]}).encode()


def short_messages() -> bytes:
    turns = [{"role": ("user", "assistant")[turn % 2], "content": "x"} for turn in range(150_000)]
    return json.dumps({"model": "m", "messages": turns}).encode()


LARGE = {
    "session of 1 MiB": lambda: session(MIB),
    "session of 4 MiB": lambda: session(4 * MIB),
    "image of 15 MiB": image,
    "150,000 short messages": short_messages,
}


async def translated_in_thread(body: object) -> tuple[float, float]:
    """Return the longest time between two turns of the event loop, and the whole time, in milliseconds."""
    longest, running = 0.0, True

    async def other() -> None:
        nonlocal longest
        last = time.perf_counter()
        while running:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now

    watching = asyncio.create_task(other())
    await asyncio.sleep(0.05)
    longest, began = 0.0, time.perf_counter()
    await asyncio.to_thread(
        translate_request, FORMATS["openai.chat"], FORMATS["anthropic"], MODELS["anthropic"], body, STATES  # type: ignore[arg-type]
    )  # fmt: skip
    whole = time.perf_counter() - began
    running = False
    await watching
    return longest * 1000, whole * 1000


def measure_large(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        body = spooled(folder, LARGE[name]())
        Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")
        longest, whole = asyncio.run(translated_in_thread(body))
        rose = memory("VmHWM") - before
        print(f"  {name:24} loop {longest:5.1f} ms  whole {whole:6.0f} ms  {rose / len(body):5.1f} times", flush=True)


def memory(name: str) -> int:
    """Return bytes of this process: `VmRSS` now, or `VmHWM` at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def large(rounds: int) -> None:
    print("the longest wait of the event loop, the time, and memory in multiples of the body")
    for name in LARGE:
        for _ in range(rounds):
            process = multiprocessing.Process(target=measure_large, args=(name,))
            process.start()
            process.join()


PARTS = {"requests": requests, "events": events, "streams": streams, "large": large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if arguments.only in {None, name}:
            part(arguments.rounds)


if __name__ == "__main__":
    main()
