"""Conversations in each format with its SDK, in which the program sends all earlier messages with each question.

Each class asks with a list of messages in the SDK's own form, and adds what the SDK returned to it as programs do.
"""

from __future__ import annotations

import json
from typing import Any

from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState

from tests.support.sdk_calls import CLAUDE, Way, anthropic_client, bedrock_client, gemini_client, openai_client

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
NOVA = "amazon.nova-lite-v1:0"


class Chat:
    """OpenAI's Chat Completions: a text as system message."""

    format, member, model = "openai.chat", "messages", "gpt-4o-mini"

    def __init__(self, way: Way, monkeypatch) -> None:
        self.client = openai_client(way)

    def user(self, text: str) -> Any:
        return {"role": "user", "content": text}

    def ask(self, messages, system: str | None = None, *, stream: bool = False, model: str | None = None) -> list[Any]:
        given = ([{"role": "system", "content": system}] if system else []) + messages
        options = {"model": model or self.model, "messages": given}
        if not stream:
            made = self.client.chat.completions.create(**options)
        else:
            state = ChatCompletionStreamState()
            for chunk in self.client.chat.completions.create(stream=True, **options):
                state.handle_chunk(chunk)
            made = state.get_final_completion()
        return [*messages, made.choices[0].message.model_dump()]

    @staticmethod
    def system_of(body):
        return body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else None

    @staticmethod
    def messages_of(body):
        return [message for message in body["messages"] if message["role"] != "system"]


class ChatAtGemini(Chat):
    """The same at Google."""

    model = "gemini-2.5-flash"

    def __init__(self, way: Way, monkeypatch) -> None:
        super().__init__(way, monkeypatch)
        root = way.url or "https://generativelanguage.googleapis.com"
        self.client = self.client.with_options(base_url=f"{root}/v1beta/openai")


class Gemini:
    """google-genai: a system instruction, and each chunk of a stream as a content of its own."""

    format, member, model = "gemini", "contents", "gemini-2.5-flash"

    def __init__(self, way: Way, monkeypatch) -> None:
        self.client = gemini_client(way)

    def user(self, text: str) -> Any:
        return types.UserContent(text)

    def ask(self, messages, system: str | None = None, *, stream: bool = False, model: str | None = None) -> list[Any]:
        options = {
            "model": model or self.model,
            "contents": messages,
            "config": types.GenerateContentConfig(system_instruction=system),
        }
        if not stream:
            return [*messages, self.client.models.generate_content(**options).candidates[0].content]
        chunks = self.client.models.generate_content_stream(**options)
        return [*messages, *(chunk.candidates[0].content for chunk in chunks if chunk.candidates)]

    @staticmethod
    def system_of(body):
        found = body.get("systemInstruction")
        return "".join(part["text"] for part in found["parts"]) if found else None

    @staticmethod
    def messages_of(body):
        return body["contents"]


class Anthropic:
    """anthropic: a text as system prompt, and the blocks that the SDK returned."""

    format, member, model = "anthropic", "messages", "claude-sonnet-4-5"

    def __init__(self, way: Way, monkeypatch) -> None:
        self.client = anthropic_client(way)

    def user(self, text: str) -> Any:
        return {"role": "user", "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}

    def ask(self, messages, system: str | None = None, *, stream: bool = False, model: str | None = None) -> list[Any]:
        options = {"model": model or self.model, "max_tokens": 64, "messages": messages}
        if system:
            options["system"] = system
        if not stream:
            made = self.client.messages.create(**options)
        else:
            with self.client.messages.stream(**options) as running:
                made = running.get_final_message()
        # The cache mark moves on to the last message, as agents do it.
        marked = [{**message, "content": [unmarked(block) for block in message["content"]]} for message in messages]
        return [*marked, {"role": "assistant", "content": [block.model_dump() for block in made.content]}]

    @staticmethod
    def system_of(body):
        return body.get("system")

    @staticmethod
    def messages_of(body):
        return body["messages"]


def unmarked(block):
    return {name: value for name, value in block.items() if name != "cache_control"}


class Converse:
    """boto3's converse: a list as system prompt."""

    format, member, model = "converse", "messages", CLAUDE

    def __init__(self, way: Way, monkeypatch) -> None:
        self.client = bedrock_client(way, monkeypatch)

    def user(self, text: str) -> Any:
        return {"role": "user", "content": [{"text": text}]}

    def ask(self, messages, system: str | None = None, *, stream: bool = False, model: str | None = None) -> list[Any]:
        options = {"modelId": model or self.model, "messages": messages}
        if system:
            options["system"] = [{"text": system}]
        if not stream:
            return [*messages, self.client.converse(**options)["output"]["message"]]
        events = list(self.client.converse_stream(**options)["stream"])
        text = "".join(
            event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event
        )
        return [*messages, {"role": "assistant", "content": [{"text": text}]}]

    @staticmethod
    def system_of(body):
        return "".join(block["text"] for block in body["system"]) if body.get("system") else None

    @staticmethod
    def messages_of(body):
        return body["messages"]


class InvokeClaude(Converse):
    """boto3's invoke_model with the body of Anthropic: texts."""

    format = "invoke"

    def user(self, text: str) -> Any:
        return {"role": "user", "content": text}

    def body(self, messages, system):
        found = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": messages}
        return {**found, "system": system} if system else found

    def ask(self, messages, system: str | None = None, *, stream: bool = False, model: str | None = None) -> list[Any]:
        options = {"modelId": model or self.model, "body": json.dumps(self.body(messages, system))}
        if not stream:
            return [*messages, self.answer(json.loads(self.client.invoke_model(**options)["body"].read()))]
        events = self.client.invoke_model_with_response_stream(**options)["body"]
        text = "".join(self.piece(json.loads(event["chunk"]["bytes"])) for event in events)
        return [*messages, self.said(text)]

    def answer(self, made):
        return self.said("".join(block["text"] for block in made["content"]))

    def said(self, text):
        return {"role": "assistant", "content": text}

    def piece(self, event):
        return event.get("delta", {}).get("text", "") if event["type"] == "content_block_delta" else ""

    @staticmethod
    def system_of(body):
        return body.get("system")


class InvokeNova(InvokeClaude):
    """boto3's invoke_model with the body of Nova: lists."""

    model = NOVA

    def user(self, text: str) -> Any:
        return {"role": "user", "content": [{"text": text}]}

    def body(self, messages, system):
        return {"messages": messages, **({"system": [{"text": system}]} if system else {})}

    def answer(self, made):
        return made["output"]["message"]

    def said(self, text):
        return {"role": "assistant", "content": [{"text": text}]}

    def piece(self, event):
        return event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")

    system_of = staticmethod(Converse.system_of)


FORMATS = (Chat, ChatAtGemini, Gemini, Anthropic, Converse, InvokeClaude, InvokeNova)
