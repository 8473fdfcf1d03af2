"""A request as a coding agent sends it within a session: 130 messages with code, calls of tools, and ten tools."""

from __future__ import annotations

import asyncio
import json
import random
from functools import cache
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.load import Target

TURNS = 43
"""A question, a call of a tool and its result each, behind one message with instructions."""
TEXT = 2_400
"""Characters of each message. All of them have 360 KB of JSON."""
CODE = Path(load.__file__).read_text()
SETTINGS = {"events": 100, "pace": 0.002}
"""Of a streamed response: events, and seconds between them."""


@cache
def session(*, stream: bool, turns: int = TURNS) -> bytes:
    """Return the request. It is the same in each run."""
    chance = random.Random(360)

    def text(length: int) -> str:
        start = chance.randrange(len(CODE) - length)
        return CODE[start : start + length]

    messages: list[dict[str, object]] = [{"role": "system", "content": text(8_000)}]
    for number in range(turns):
        identifier = f"call_{number:024d}"
        arguments = json.dumps({"path": f"src/module_{number}.py", "text": text(TEXT)})
        function = {"name": "write_file", "arguments": arguments}
        messages += [
            {"role": "user", "content": text(TEXT)},
            {"role": "assistant", "tool_calls": [{"id": identifier, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": identifier, "content": text(TEXT)},
        ]
    fields = {f"field_{number}": {"type": "string", "description": text(80)} for number in range(8)}
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": text(1_200),
                "parameters": {"type": "object", "properties": fields},
            },
        }
        for number in range(10)
    ]
    content = {"model": "gpt-4o-mini", "messages": messages, "tools": tools, "max_tokens": 100}
    return json.dumps((load.streamed(SETTINGS) if stream else {}) | content, separators=(",", ":")).encode()


def request(target: Target, *, stream: bool, turns: int = TURNS) -> bytes:
    """Return the request with its head."""
    content = session(stream=stream, turns=turns)
    head = load.request(target).partition(b"\r\n\r\n")[0]
    return load.LENGTH.sub(b"Content-Length: %d" % len(content), head) + b"\r\n\r\n" + content


async def agent_sessions(target: Target, clients: int, requests: int, *, stream: bool) -> None:
    """Send the request `requests` times in all, over a kept connection of each client, and read the responses."""
    data = request(target, stream=stream)
    context, left = target.context(), iter(range(requests))

    async def client() -> None:
        reader, writer = await load.connect(target, context)
        for _ in left:
            writer.write(data)
            await writer.drain()
            await (load.rest_of_stream(reader) if stream else load.read_answer(reader))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
