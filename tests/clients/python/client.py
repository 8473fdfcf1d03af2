"""Makes calls with the official SDKs for Python, and with plain HTTP libraries, as a program of a user would.

Asked on stdin, answers on stdout, one JSON object a line:
  {"client": "openai", "action": "chat" | "stream" | "unknown", "options": {"retries", "text", "leave"}}
  {"value": what the SDK gave}  or  {"error": {"type", "status", "message"}}
With `leave` a stream is closed after its first event, or its task cancelled: {"value": [first event], "left": true}.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

OPENAI, GEMINI, ANTHROPIC = "gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5"
BEDROCK = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda model: model.model_dump(mode="json", exclude={"id", "created"})))


class OpenAi:
    def ask(self, options):
        return {"model": OPENAI, "messages": [{"role": "user", "content": options["text"]}]}

    def client(self, options):
        import openai

        return openai.OpenAI(max_retries=options["retries"])

    def chat(self, options):
        answer = self.client(options).chat.completions.create(**self.ask(options))
        return [answer.choices, answer.usage]

    def stream(self, options):
        with self.client(options).chat.completions.create(**self.ask(options), stream=True) as stream:
            for chunk in stream:
                yield [chunk.choices, chunk.usage]

    def unknown(self, options):
        self.client(options).post("/no/such/operation", body={}, cast_to=object)


class AsyncOpenAi(OpenAi):
    def client(self, options):
        import openai

        return openai.AsyncOpenAI(max_retries=options["retries"])

    async def chat(self, options):
        answer = await self.client(options).chat.completions.create(**self.ask(options))
        return [answer.choices, answer.usage]

    async def stream(self, options):
        async for chunk in await self.client(options).chat.completions.create(**self.ask(options), stream=True):
            yield [chunk.choices, chunk.usage]

    async def unknown(self, options):
        await self.client(options).post("/no/such/operation", body={}, cast_to=object)


class Anthropic:
    def ask(self, options):
        return {"model": ANTHROPIC, "max_tokens": 64, "messages": [{"role": "user", "content": options["text"]}]}

    def client(self, options):
        import anthropic

        return anthropic.Anthropic(max_retries=options["retries"])

    def chat(self, options):
        answer = self.client(options).messages.create(**self.ask(options))
        return [answer.content, answer.usage, answer.stop_reason]

    def stream(self, options):
        with self.client(options).messages.create(**self.ask(options), stream=True) as stream:
            for event in stream:
                yield event.type if event.type == "message_start" else event

    def unknown(self, options):
        self.client(options).post("/no/such/operation", body={}, cast_to=object)


class AnthropicKeyHeader(Anthropic):
    """Sends the key as older versions do: in x-api-key."""

    def client(self, options):
        import anthropic

        key = os.environ["ANTHROPIC_API_KEY"]
        headers = {"X-Api-Key": key, "Authorization": anthropic.Omit()}
        return anthropic.Anthropic(max_retries=options["retries"], default_headers=headers)


class AsyncAnthropic(Anthropic):
    def client(self, options):
        import anthropic

        return anthropic.AsyncAnthropic(max_retries=options["retries"])

    async def chat(self, options):
        answer = await self.client(options).messages.create(**self.ask(options))
        return [answer.content, answer.usage, answer.stop_reason]

    async def stream(self, options):
        async for event in await self.client(options).messages.create(**self.ask(options), stream=True):
            yield event.type if event.type == "message_start" else event

    async def unknown(self, options):
        await self.client(options).post("/no/such/operation", body={}, cast_to=object)


class Gemini:
    def client(self, options):
        from google import genai
        from google.genai import types

        retry = types.HttpRetryOptions(attempts=options["retries"] + 1, initial_delay=0.1)
        return genai.Client(http_options=types.HttpOptions(retry_options=retry))

    def chat(self, options):
        client = self.client(options)
        answer = client.models.generate_content(model=GEMINI, contents=options["text"])
        return [answer.text, answer.usage_metadata]

    def stream(self, options):
        client = self.client(options)
        for chunk in client.models.generate_content_stream(model=GEMINI, contents=options["text"]):
            yield [chunk.text, chunk.usage_metadata]

    def unknown(self, options):
        client = self.client(options)
        return list(client.batches.list())


class AsyncGemini(Gemini):
    async def chat(self, options):
        async with self.client(options).aio as client:
            answer = await client.models.generate_content(model=GEMINI, contents=options["text"])
            return [answer.text, answer.usage_metadata]

    async def stream(self, options):
        async with self.client(options).aio as client:
            async for chunk in await client.models.generate_content_stream(model=GEMINI, contents=options["text"]):
                yield [chunk.text, chunk.usage_metadata]

    async def unknown(self, options):
        async with self.client(options).aio as client:
            await client.batches.list()

    async def upload(self, options):
        """Send a file by a resumable upload, read its record, delete it."""
        import io

        async with self.client(options).aio as client:
            file = await client.files.upload(
                file=io.BytesIO(options["text"].encode()), config={"mime_type": "text/plain", "display_name": "notes"}
            )
            record = await client.files.get(name=file.name)
            await client.files.delete(name=file.name)
            return [file.mime_type, int(file.size_bytes), record.display_name]


class Bedrock:
    def ask(self, options):
        return {"modelId": BEDROCK, "messages": [{"role": "user", "content": [{"text": options["text"]}]}]}

    def client(self, options):
        import boto3
        import botocore.config

        retries = {"total_max_attempts": options["retries"] + 1}
        return boto3.client("bedrock-runtime", config=botocore.config.Config(retries=retries))

    def chat(self, options):
        answer = self.client(options).converse(**self.ask(options))
        return [answer["output"], answer["usage"], answer["stopReason"]]

    def stream(self, options):
        with contextlib.closing(self.client(options).converse_stream(**self.ask(options))["stream"]) as stream:
            yield from stream

    def unknown(self, options):
        self.client(options).list_async_invokes()


class HttpError(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(json.loads(body)["error"]["message"])
        self.status = status


class Raw:
    """A plain HTTP library that speaks to OpenAI's API."""

    @staticmethod
    def request(options, path="/chat/completions", **more):
        url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + path
        body = {"model": OPENAI, "messages": [{"role": "user", "content": options["text"]}], **more}
        headers = {
            "Content-Type": "application/json",
            "X-Mixed-CASE": "as written",
            "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        }
        return url, json.dumps(body).encode(), headers

    def chat(self, options):
        return json.loads(b"".join(self.send(options)))["choices"]

    def stream(self, options):
        for part in self.send(options, stream=True):
            yield part.decode()

    def unknown(self, options):
        list(self.send(options, "/no/such/operation"))


class Requests(Raw):
    def send(self, options, *path, **more):
        import requests

        url, body, headers = self.request(options, *path, **more)
        with requests.post(url, data=body, headers=headers, stream=True) as answer:
            if answer.status_code != 200:
                raise HttpError(answer.status_code, answer.content)
            yield from answer.iter_lines()


class HttpxTwo(Raw):
    def send(self, options, *path, **more):
        import httpx

        url, body, headers = self.request(options, *path, **more)
        with httpx.Client(http2=True) as client, client.stream("POST", url, content=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise HttpError(answer.status_code, answer.read())
            yield from answer.iter_bytes()


class Urllib(Raw):
    def send(self, options, *path, **more):
        url, body, headers = self.request(options, *path, **more)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                yield from answer
        except urllib.error.HTTPError as error:
            raise HttpError(error.code, error.read()) from None


CLIENTS = {
    "openai": OpenAi(),
    "openai-async": AsyncOpenAi(),
    "anthropic": Anthropic(),
    "anthropic-x-api-key": AnthropicKeyHeader(),
    "anthropic-async": AsyncAnthropic(),
    "gemini": Gemini(),
    "gemini-async": AsyncGemini(),
    "bedrock": Bedrock(),
    "requests": Requests(),
    "httpx-http2": HttpxTwo(),
    "urllib": Urllib(),
}


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


def described(error: Exception) -> dict[str, Any]:
    status = getattr(error, "status_code", None) or getattr(error, "status", None) or getattr(error, "code", None)
    if answer := getattr(error, "response", None):
        metadata = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
        status = metadata.get("HTTPStatusCode", status)
    status = status if isinstance(status, int) else getattr(error, "code", None)
    return {"type": type(error).__name__, "status": status, "message": str(error)}


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await answer(json.loads(line))
        except Exception as error:
            result = {"error": described(error)}
        print(json.dumps(result), flush=True)


asyncio.run(main())
