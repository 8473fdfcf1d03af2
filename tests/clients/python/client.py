"""Makes calls with the SDKs for Python, and with plain HTTP libraries, as a program of a user would.

Asked on stdin, answers on stdout, one JSON object a line:
  {"client": "openai", "action": "chat" | "stream" | …, "options": {"retries", "text", "leave", "tools", "model"}}
  {"value": what the SDK gave}  or  {"error": {"type", "status", "message"}}
With `leave` a stream is closed after its first event, or its task cancelled: {"value": [first event], "left": true}.
The clients stand in the modules beside this one. None imports its SDK before it is asked for a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import sys
from typing import Any

import frameworks
import http_libraries
import sdks

CLIENTS = {**sdks.CLIENTS, **http_libraries.CLIENTS, **frameworks.CLIENTS}


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda model: model.model_dump(mode="json", exclude={"id", "created"})))


def listen(stream, leave: bool):
    events = []
    with contextlib.closing(stream):
        for event in stream:
            events.append(plain(event))
            if leave:
                break
    return {"value": events, "left": leave}


async def listen_async(stream, leave: bool):
    """Read a stream in a task; to leave it, that task is cancelled while it waits for the second event."""
    events = []
    first = asyncio.Event()

    async def read():
        async for event in stream:
            events.append(plain(event))
            first.set()

    reading = asyncio.create_task(read())
    if leave:
        await asyncio.wait([reading, asyncio.create_task(first.wait())], return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    return {"value": events, "left": leave}


async def answer(wish):
    options = {"text": "hello", "retries": 0, "leave": False} | wish["options"]
    result = getattr(CLIENTS[wish["client"]], wish["action"])(options)
    if inspect.isasyncgen(result):
        return await listen_async(result, options["leave"])
    if inspect.isgenerator(result):
        return listen(result, options["leave"])
    return {"value": plain(await result if inspect.isawaitable(result) else result)}


def error_fields(error: Exception) -> dict[str, Any]:
    status = getattr(error, "status_code", None) or getattr(error, "status", None) or getattr(error, "code", None)
    if answer := getattr(error, "response", None):
        metadata = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
        status = metadata.get("HTTPStatusCode", status)
    status = status if isinstance(status, int) else getattr(error, "code", None)
    return {"type": type(error).__name__, "status": status, "message": str(error)}


async def main() -> None:
    loop = asyncio.get_running_loop()
    answers, sys.stdout = sys.stdout, sys.stderr  # some libraries print
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await answer(json.loads(line))
        except Exception as error:
            result = {"error": error_fields(error)}
        print(json.dumps(result), file=answers, flush=True)
        gc.collect()
        gc.freeze()


# Some calls leave a response unread. A collection that closes it while httpcore holds the lock of its connections waits
# for that lock for ever.
gc.disable()
asyncio.run(main())
