"""Calls with the official SDKs. The programs of a user differ from these only in what they say, and in the time-out.

`options`: text, retries, and where wanted model and tools (true: the call offers a tool).
"""

from __future__ import annotations

import contextlib
import io
import json
import os

OPENAI, GEMINI, ANTHROPIC = "gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5"
MISTRAL = "mistral-large-latest"
BEDROCK = "anthropic.claude-3-5-sonnet-20241022-v2:0"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PATIENCE = 120.0
"""Seconds. By default two of the SDKs wait 5 s for a connection, which a busy machine may exceed."""
WEATHER = {"name": "weather", "description": "The weather in a city."}


class OpenAi:
    def ask(self, options):
        asked = {"model": options.get("model", OPENAI), "messages": [{"role": "user", "content": options["text"]}]}
        if options.get("tools"):
            asked["tools"] = [{"type": "function", "function": {**WEATHER, "parameters": PARAMETERS}}]
        return asked

    def client(self, options):
        import openai

        return openai.OpenAI(timeout=PATIENCE, max_retries=options["retries"])

    def chat(self, options):
        answer = self.client(options).chat.completions.create(**self.ask(options))
        return [answer.choices, answer.usage]

    def stream(self, options):
        with self.client(options).chat.completions.create(**self.ask(options), stream=True) as stream:
            for chunk in stream:
                yield [chunk.choices, chunk.usage]

    def unknown(self, options):
        self.client(options).post("/no/such/operation", body={}, cast_to=object)

    def responses(self, options):
        answer = self.client(options).responses.create(model=OPENAI, input=options["text"])
        return [answer.output_text, answer.usage]

    def embed(self, options):
        answer = self.client(options).embeddings.create(model="text-embedding-3-small", input=[options["text"], "two"])
        return [answer.data, answer.usage]

    def models(self, options):
        return [model.id for model in self.client(options).models.list()]

    def files(self, options):
        files = self.client(options).files
        file = files.create(file=("notes.jsonl", options["text"].encode()), purpose="batch")
        found = files.retrieve(file.id)
        content = files.content(file.id).text
        return [found.filename, found.bytes, content, files.delete(file.id).deleted]

    def transcribe(self, options):
        audio = ("speech.wav", options["text"].encode())
        return self.client(options).audio.transcriptions.create(model="whisper-1", file=audio).text


class AsyncOpenAi(OpenAi):
    def client(self, options):
        import openai

        return openai.AsyncOpenAI(timeout=PATIENCE, max_retries=options["retries"])

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
        asked = {"model": ANTHROPIC, "max_tokens": 64, "messages": [{"role": "user", "content": options["text"]}]}
        if options.get("tools"):
            asked["tools"] = [{**WEATHER, "input_schema": PARAMETERS}]
        return asked

    def client(self, options):
        import anthropic

        return anthropic.Anthropic(timeout=PATIENCE, max_retries=options["retries"])

    def chat(self, options):
        answer = self.client(options).messages.create(**self.ask(options))
        return [answer.content, answer.usage, answer.stop_reason]

    def stream(self, options):
        with self.client(options).messages.create(**self.ask(options), stream=True) as stream:
            for event in stream:
                yield event.type if event.type == "message_start" else event

    def unknown(self, options):
        self.client(options).post("/no/such/operation", body={}, cast_to=object)

    def count(self, options):
        asked = {name: value for name, value in self.ask(options).items() if name != "max_tokens"}
        return self.client(options).messages.count_tokens(**asked)

    def models(self, options):
        return [model.id for model in self.client(options).models.list()]

    def files(self, options):
        files = self.client(options).beta.files
        file = files.upload(file=("notes.txt", options["text"].encode(), "text/plain"))
        found = files.retrieve_metadata(file.id)
        files.delete(file.id)
        return [found.filename, found.size_bytes]


class AnthropicKeyHeader(Anthropic):
    """Sends the key as older versions do: in x-api-key."""

    def client(self, options):
        import anthropic

        key = os.environ["ANTHROPIC_API_KEY"]
        headers = {"X-Api-Key": key, "Authorization": anthropic.Omit()}
        return anthropic.Anthropic(timeout=PATIENCE, max_retries=options["retries"], default_headers=headers)


class AsyncAnthropic(Anthropic):
    def client(self, options):
        import anthropic

        return anthropic.AsyncAnthropic(timeout=PATIENCE, max_retries=options["retries"])

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

    def ask(self, options):
        asked = {"model": options.get("model", GEMINI), "contents": options["text"]}
        if options.get("tools"):
            tool = {"function_declarations": [{**WEATHER, "parameters_json_schema": PARAMETERS}]}
            asked["config"] = {"tools": [tool]}
        return asked

    def chat(self, options):
        client = self.client(options)
        answer = client.models.generate_content(**self.ask(options))
        return [answer.text, answer.function_calls, answer.usage_metadata]

    def stream(self, options):
        client = self.client(options)
        for chunk in client.models.generate_content_stream(**self.ask(options)):
            yield [chunk.text, chunk.function_calls, chunk.usage_metadata]

    def embed(self, options):
        client = self.client(options)
        return client.models.embed_content(model="gemini-embedding-001", contents=[options["text"], "two"]).embeddings

    def count(self, options):
        client = self.client(options)
        return client.models.count_tokens(model=GEMINI, contents=options["text"]).total_tokens

    def models(self, options):
        client = self.client(options)
        return [model.name for model in client.models.list()]

    def files(self, options):
        client = self.client(options)
        config = {"mime_type": "text/plain", "display_name": "notes"}
        file = client.files.upload(file=io.BytesIO(options["text"].encode()), config=config)
        found = client.files.get(name=file.name)
        client.files.delete(name=file.name)
        return [file.mime_type, int(file.size_bytes), found.display_name]

    def unknown(self, options):
        client = self.client(options)
        return list(client.batches.list())


class AsyncGemini(Gemini):
    async def chat(self, options):
        async with self.client(options).aio as client:
            answer = await client.models.generate_content(**self.ask(options))
            return [answer.text, answer.function_calls, answer.usage_metadata]

    async def stream(self, options):
        async with self.client(options).aio as client:
            async for chunk in await client.models.generate_content_stream(**self.ask(options)):
                yield [chunk.text, chunk.function_calls, chunk.usage_metadata]

    async def unknown(self, options):
        async with self.client(options).aio as client:
            await client.batches.list()

    async def upload(self, options):
        """Send a file by a resumable upload, read its record, delete it."""
        async with self.client(options).aio as client:
            file = await client.files.upload(
                file=io.BytesIO(options["text"].encode()), config={"mime_type": "text/plain", "display_name": "notes"}
            )
            record = await client.files.get(name=file.name)
            await client.files.delete(name=file.name)
            return [file.mime_type, int(file.size_bytes), record.display_name]


class Mistral:
    def client(self, options):
        from mistralai.client import Mistral
        from mistralai.client.utils import BackoffStrategy, RetryConfig

        backoff = BackoffStrategy(100, 1000, 1.0, options["retries"] * 1000)
        retry = RetryConfig("backoff", backoff, True) if options["retries"] else None
        base = os.environ.get("MISTRAL_API_BASE")  # which the SDK does not read itself
        more = {"retry_config": retry} if retry else {}
        server = base.removesuffix("/v1") if base else None
        return Mistral(server_url=server, timeout_ms=int(PATIENCE * 1000), **more)

    def ask(self, options):
        asked = {"model": options.get("model", MISTRAL), "messages": [{"role": "user", "content": options["text"]}]}
        if options.get("tools"):
            asked["tools"] = [{"type": "function", "function": {**WEATHER, "parameters": PARAMETERS}}]
        return asked | {"random_seed": 3}

    def chat(self, options):
        answer = self.client(options).chat.complete(**self.ask(options))
        return [answer.choices, answer.usage]

    def stream(self, options):
        for event in self.client(options).chat.stream(**self.ask(options)):
            yield [event.data.choices, event.data.usage]

    def unknown(self, options):
        self.client(options).batch.jobs.list()

    def embed(self, options):
        answer = self.client(options).embeddings.create(model="mistral-embed", inputs=[options["text"], "two"])
        return [answer.data, answer.usage]

    def fim(self, options):
        answer = self.client(options).fim.complete(model="codestral-latest", prompt=options["text"], suffix="end")
        return [answer.choices, answer.usage]

    def models(self, options):
        return [model.id for model in self.client(options).models.list().data]


class AsyncMistral(Mistral):
    async def chat(self, options):
        answer = await self.client(options).chat.complete_async(**self.ask(options))
        return [answer.choices, answer.usage]

    async def stream(self, options):
        async for event in await self.client(options).chat.stream_async(**self.ask(options)):
            yield [event.data.choices, event.data.usage]

    async def unknown(self, options):
        await self.client(options).batch.jobs.list_async()


class Bedrock:
    def ask(self, options):
        messages = [{"role": "user", "content": [{"text": options["text"]}]}]
        asked = {"modelId": options.get("model", BEDROCK), "messages": messages}
        if options.get("tools"):
            asked["toolConfig"] = {"tools": [{"toolSpec": {**WEATHER, "inputSchema": {"json": PARAMETERS}}}]}
        return asked

    def invoked(self, options):
        body = {"max_tokens": 9, "messages": [{"role": "user", "content": options["text"]}]}
        return {
            "modelId": options.get("model", BEDROCK),
            "body": json.dumps({"anthropic_version": "bedrock-2023-05-31", **body}),
        }

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

    def invoke(self, options):
        return json.loads(self.client(options).invoke_model(**self.invoked(options))["body"].read())

    def invoke_stream(self, options):
        answer = self.client(options).invoke_model_with_response_stream(**self.invoked(options))
        with contextlib.closing(answer["body"]) as stream:
            for event in stream:
                yield json.loads(event["chunk"]["bytes"])

    def embed(self, options):
        body = json.dumps({"inputText": options["text"]})
        answer = self.client(options).invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)
        return json.loads(answer["body"].read())


CLIENTS = {
    "openai": OpenAi(),
    "openai-async": AsyncOpenAi(),
    "anthropic": Anthropic(),
    "anthropic-x-api-key": AnthropicKeyHeader(),
    "anthropic-async": AsyncAnthropic(),
    "gemini": Gemini(),
    "gemini-async": AsyncGemini(),
    "bedrock": Bedrock(),
    "mistral": Mistral(),
    "mistral-async": AsyncMistral(),
}
