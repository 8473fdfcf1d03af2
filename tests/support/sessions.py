"""One session of twelve turns of the model, held by the SDK of each provider, and what each side of Wirekey sees of it.

The user's first message has the script, so that the simulator plays the same model behind the format of every provider.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import openai
from botocore.config import Config
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState

from wirekey_simulator.session import MARK

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MEDIA = f"image/png {len(PNG)} bytes {hashlib.sha256(PNG).hexdigest()[:8]}"
PLACE = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["place"],
}
TOOLS = {
    "forecast": PLACE,
    "clock": {"type": "object", "properties": {"zone": {"type": "string"}}},
    "record": {
        "type": "object",
        "properties": {"note": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    },
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
SYSTEM = "You are terse."
ODD = {"place": 'Zürich "北" \\ 🌦', "days": 9007199254740991}
SCRIPT = [
    {"thought": "A greeting.", "text": "Hello. How can I help?"},
    {"thought": "One pixel.", "text": "I see {media}."},
    {"thought": "Three calls at once.", "text": "Let me look.", "calls": [
        {"tool": "forecast", "input": {"place": "Paris", "days": 2}},
        {"tool": "forecast", "input": {"place": "Lyon"}},
        {"tool": "clock", "input": {"zone": "CET"}},
    ]},
    {"thought": "One more.", "tool": "forecast", "input": {"place": "Nice", "days": 1}},
    {"thought": "Enough.", "text": "The last result: {results}."},
    {"tool": "record", "input": {"note": "Rain", "tags": ["a", "b"]}},
    {"text": "Recorded: {results}."},
    {"thought": "Odd ones.", "calls": [{"tool": "forecast", "input": ODD}, {"tool": "clock", "input": {}}]},
    {"text": "In order: {results}."},
    {"json": {"city": "Zürich", "days": 3}},
    {"thought": "The last call.", "tool": "clock", "input": {"zone": "UTC"}},
    {"thought": "Done.", "text": "Good bye: {results}."},
]  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """What the user says, and what the program asks for with it."""

    text: str
    image: bool = False
    forced: str | None = None
    structured: bool = False


ASKS = [
    Ask(f"Hi. {MARK} {json.dumps(SCRIPT, ensure_ascii=False)}"),
    Ask("What is in this picture?", image=True),
    Ask("How is the weather?"),
    Ask("Record that.", forced="record"),
    Ask("And far away?"),
    Ask("As JSON, please.", structured=True),
    Ask("One more thing."),
]


@dataclass
class Turn:
    """One turn of the model, as the SDK shows it. `calls` has (id, name, arguments); Gemini's need no id."""

    text: str
    calls: list[tuple[str | None, str, Any]]
    thought: str = ""


def result_of(number: int) -> str:
    """Return what the tool returns to the call with this number in the session."""
    return f"result {number}"


def expected_turns() -> list[tuple[str, list[tuple[str, Any]]]]:
    """Return (text, calls) of each turn of the model that the program must see."""
    found, results, number = [], "", 0
    for step in SCRIPT:
        said = step.get("text", "")
        text = said.replace("{media}", MEDIA).replace("{results}", results)
        if "json" in step:
            text = json.dumps(step["json"], ensure_ascii=False, separators=(",", ":"))
        calls = [(call["tool"], call["input"]) for call in step.get("calls", [step] if "tool" in step else [])]
        results = "; ".join(f"{name}={result_of(number + at)}" for at, (name, _) in enumerate(calls))
        number += len(calls)
        found.append((text, calls))
    return found


def hold(session, models) -> list[Turn]:
    """Hold the session, with the model of `models` for each turn. Return the turns of the model."""
    turns: list[Turn] = []
    names = iter(models)
    number = 0
    for ask in ASKS:
        session.say(ask)
        turns.append(session.turn(next(names), ask))
        while turns[-1].calls:
            results = [(call, result_of(number + at)) for at, call in enumerate(turns[-1].calls)]
            number += len(results)
            session.results(results)
            turns.append(session.turn(next(names), Ask("")))
    return turns


class ChatSession:
    """OpenAI's Chat Completions. `reasons` is False for calls to a model that does not reason."""

    format = "openai.chat"

    def __init__(self, base, token, pair, *, streamed):
        self.client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)
        self.streamed = streamed
        self.messages: list[Any] = [{"role": "system", "content": SYSTEM}]

    def say(self, ask):
        content: Any = ask.text
        if ask.image:
            url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
            content = [{"type": "text", "text": ask.text}, {"type": "image_url", "image_url": {"url": url}}]
        self.messages.append({"role": "user", "content": content})

    def results(self, results):
        self.messages += [{"role": "tool", "tool_call_id": call[0], "content": text} for call, text in results]

    def options(self, model, ask):
        tools = [
            {"type": "function", "function": {"name": name, "description": f"The {name}", "parameters": schema}}
            for name, schema in TOOLS.items()
        ]
        options: dict[str, Any] = {"tools": tools, "max_completion_tokens": 8000}
        if not model.startswith("to-chat"):
            options["reasoning_effort"] = "medium"
        if ask.forced:
            options["tool_choice"] = {"type": "function", "function": {"name": ask.forced}}
        if ask.structured:
            schema = {"name": "forecast", "schema": SCHEMA, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        return options

    def turn(self, model, ask):
        create = self.client.chat.completions.create
        options = {"model": model, "messages": self.messages, **self.options(model, ask)}
        if self.streamed:
            state = ChatCompletionStreamState()
            for chunk in create(stream=True, stream_options={"include_usage": True}, **options):
                state.handle_chunk(chunk)
            made = state.get_final_completion()
        else:
            made = create(**options)
        assert made.usage.total_tokens
        message = made.choices[0].message
        calls = [
            (call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()
        ]
        assert made.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        kept = {"role": "assistant", "content": message.content}
        if calls:
            kept["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {
                    "name": call.function.name, "arguments": call.function.arguments,
                }}
                for call in message.tool_calls
            ]  # fmt: skip
        self.messages.append(kept)
        return Turn(message.content or "", calls, (message.model_extra or {}).get("reasoning_content") or "")


class ResponsesSession:
    """OpenAI's Responses, without stored state."""

    format = "openai.responses"

    def __init__(self, base, token, pair, *, streamed):
        self.client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)
        self.streamed = streamed
        self.items: list[Any] = []

    def say(self, ask):
        content: list[Any] = [{"type": "input_text", "text": ask.text}]
        if ask.image:
            url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        self.items.append({"role": "user", "content": content})

    def results(self, results):
        self.items += [{"type": "function_call_output", "call_id": call[0], "output": text} for call, text in results]

    def turn(self, model, ask):
        tools = [
            {"type": "function", "name": name, "description": f"The {name}", "parameters": schema, "strict": False}
            for name, schema in TOOLS.items()
        ]
        options: dict[str, Any] = {
            "model": model, "input": self.items, "instructions": SYSTEM, "tools": tools, "store": False,
            "max_output_tokens": 8000,
        }  # fmt: skip
        if not model.startswith("to-chat"):
            options["reasoning"] = {"effort": "medium", "summary": "auto"}
            options["include"] = ["reasoning.encrypted_content"]
        if ask.forced:
            options["tool_choice"] = {"type": "function", "name": ask.forced}
        if ask.structured:
            options["text"] = {"format": {"type": "json_schema", "name": "forecast", "schema": SCHEMA, "strict": True}}
        if self.streamed:
            with self.client.responses.stream(**options) as stream:
                made = stream.get_final_response()
        else:
            made = self.client.responses.create(**options)
        assert made.status == "completed"
        assert made.usage.total_tokens
        self.items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in made.output]
        for item in self.items:
            for part in item.get("content") or () if isinstance(item, dict) else ():
                if isinstance(part, dict):
                    part.pop("parsed", None)
        calls = [
            (item.call_id, item.name, json.loads(item.arguments))
            for item in made.output
            if item.type == "function_call"
        ]
        thought = "".join(part.text for item in made.output if item.type == "reasoning" for part in item.summary or ())
        return Turn(made.output_text, calls, thought)


class GeminiSession:
    """Gemini's generateContent, with contents as the SDK makes them."""

    format = "gemini"

    def __init__(self, base, token, pair, *, streamed):
        self.client = genai.Client(api_key=token, http_options={"base_url": base})
        self.streamed = streamed
        self.contents: list[types.Content] = []

    def say(self, ask):
        parts = [types.Part(text=ask.text)]
        if ask.image:
            parts.append(types.Part.from_bytes(data=PNG, mime_type="image/png"))
        self.contents.append(types.Content(role="user", parts=parts))

    def results(self, results):
        parts = [
            types.Part(function_response=types.FunctionResponse(id=call[0], name=call[1], response={"output": text}))
            for call, text in results
        ]
        self.contents.append(types.Content(role="user", parts=parts))

    def turn(self, model, ask):
        functions = [
            types.FunctionDeclaration(name=name, description=f"The {name}", parameters_json_schema=schema)
            for name, schema in TOOLS.items()
        ]
        config = types.GenerateContentConfig(
            system_instruction=SYSTEM,
            max_output_tokens=8000,
            tools=[types.Tool(function_declarations=functions)],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level="HIGH"),
        )
        if ask.forced:
            calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=[ask.forced])
            config.tool_config = types.ToolConfig(function_calling_config=calling)
        if ask.structured:
            config.response_mime_type = "application/json"
            config.response_json_schema = SCHEMA
        options = {"model": model, "contents": self.contents, "config": config}
        if self.streamed:
            chunks = list(self.client.models.generate_content_stream(**options))
        else:
            chunks = [self.client.models.generate_content(**options)]
        assert chunks[-1].candidates[0].finish_reason == "STOP"
        assert chunks[-1].usage_metadata.total_token_count
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
        self.contents.append(types.Content(role="model", parts=parts))
        calls = [
            (part.function_call.id, part.function_call.name, dict(part.function_call.args or {}))
            for part in parts
            if part.function_call
        ]
        said = [(part.text, part.thought) for part in parts if part.text]
        return Turn(
            "".join(text for text, thought in said if not thought), calls,
            "".join(text for text, thought in said if thought),
        )  # fmt: skip


class AnthropicSession:
    """Anthropic's Messages. Thinking is adaptive, as its own upstream then accepts turns of other models."""

    format = "anthropic"

    def __init__(self, base, token, pair, *, streamed):
        self.client = anthropic.Anthropic(api_key=token, base_url=base, max_retries=0)
        self.streamed = streamed
        self.messages: list[Any] = []

    def say(self, ask):
        content: list[Any] = [{"type": "text", "text": ask.text}]
        if ask.image:
            source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
            content.append({"type": "image", "source": source})
        self.messages.append({"role": "user", "content": content})

    def results(self, results):
        content = [{"type": "tool_result", "tool_use_id": call[0], "content": text} for call, text in results]
        self.messages.append({"role": "user", "content": content})

    def turn(self, model, ask):
        tools = [{"name": name, "description": f"The {name}", "input_schema": schema} for name, schema in TOOLS.items()]
        options: dict[str, Any] = {
            "model": model, "messages": self.messages, "system": SYSTEM, "tools": tools, "max_tokens": 8000,
        }  # fmt: skip
        if ask.forced:
            options["tool_choice"] = {"type": "tool", "name": ask.forced}
        else:
            options["thinking"] = {"type": "adaptive"}
        if ask.structured:
            options["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if self.streamed:
            with self.client.messages.stream(**options) as stream:
                made = stream.get_final_message()
        else:
            made = self.client.messages.create(**options)
        assert made.usage.input_tokens + made.usage.output_tokens
        self.messages.append(
            {
                "role": "assistant",
                "content": [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in made.content],
            }
        )
        calls = [(block.id, block.name, block.input) for block in made.content if block.type == "tool_use"]
        assert made.stop_reason == ("tool_use" if calls else "end_turn")
        return Turn(
            "".join(block.text for block in made.content if block.type == "text"), calls,
            "".join(block.thinking for block in made.content if block.type == "thinking"),
        )  # fmt: skip


class ConverseSession:
    """Bedrock's Converse."""

    format = "converse"

    def __init__(self, base, token, pair, *, streamed):
        session = boto3.Session(aws_access_key_id=pair.access_key, aws_secret_access_key=pair.secret.reveal())
        self.client = session.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=base,
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.streamed = streamed
        self.messages: list[Any] = []

    def say(self, ask):
        content: list[Any] = [{"text": ask.text}]
        if ask.image:
            content.append({"image": {"format": "png", "source": {"bytes": PNG}}})
        self.messages.append({"role": "user", "content": content})

    def results(self, results):
        content = [{"toolResult": {"toolUseId": call[0], "content": [{"text": text}]}} for call, text in results]
        self.messages.append({"role": "user", "content": content})

    def turn(self, model, ask):
        tools = [
            {"toolSpec": {"name": name, "description": f"The {name}", "inputSchema": {"json": schema}}}
            for name, schema in TOOLS.items()
        ]
        options: dict[str, Any] = {
            "modelId": model, "messages": self.messages, "system": [{"text": SYSTEM}], "toolConfig": {"tools": tools},
            "inferenceConfig": {"maxTokens": 8000},
        }  # fmt: skip
        if ask.forced:
            options["toolConfig"]["toolChoice"] = {"tool": {"name": ask.forced}}
        else:
            options["additionalModelRequestFields"] = {"thinking": {"type": "adaptive"}}
        if ask.structured:
            form = {"schema": json.dumps(SCHEMA), "name": "forecast"}
            options["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": form}}}
        if self.streamed:
            content, reason, usage = folded(self.client.converse_stream(**options)["stream"])
        else:
            made = self.client.converse(**options)
            content, reason, usage = made["output"]["message"]["content"], made["stopReason"], made["usage"]
        assert usage["totalTokens"]
        self.messages.append({"role": "assistant", "content": content})
        uses = [block["toolUse"] for block in content if "toolUse" in block]
        assert reason == ("tool_use" if uses else "end_turn")
        shown = [block["reasoningContent"].get("reasoningText", {}) for block in content if "reasoningContent" in block]
        return Turn(
            "".join(block.get("text", "") for block in content),
            [(use["toolUseId"], use["name"], use["input"]) for use in uses],
            "".join(one.get("text", "") for one in shown),
        )


def folded(stream):
    """Return (content, stop reason, usage) of the events of converse_stream."""
    blocks: dict[int, dict] = {}
    reason, usage = "", {}
    for event in stream:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        elif found := event.get("contentBlockDelta"):
            delta, block = found["delta"], blocks.setdefault(found["contentBlockIndex"], {})
            if "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            elif "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            elif "redactedContent" in delta["reasoningContent"]:
                block["reasoningContent"] = delta["reasoningContent"]
            else:
                shown = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
                for name, value in delta["reasoningContent"].items():
                    shown[name] = shown.get(name, "") + value
        elif "messageStop" in event:
            reason = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            usage = event["metadata"]["usage"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return [blocks[index] for index in sorted(blocks)], reason, usage


SESSIONS = {
    session.format: session
    for session in (ChatSession, ResponsesSession, GeminiSession, AnthropicSession, ConverseSession)
}
