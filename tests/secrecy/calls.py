"""One call of each operation, with a canary in each field of its content and in each place for a client's own key."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.canaries import Canaries

OPENAI = "api.openai.com"
GEMINI = "generativelanguage.googleapis.com"
ANTHROPIC = "api.anthropic.com"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
MISTRAL = "api.mistral.ai"
VERTEX = "europe-west4-aiplatform.googleapis.com"
AT_VERTEX = "projects/my-project/locations/europe-west4"
AZURE = "corp.openai.azure.com"
CLAUDE = "/model/anthropic.claude-3-haiku-20240307-v1%3A0"
NOVA = "/model/amazon.nova-lite-v1%3A0"
BOUNDARY = "a-boundary-of-parts"

SLOTS = (
    "Authorization",
    "X-Api-Key",
    "Api-Key",
    "X-Goog-Api-Key",
    "X_Goog_Api_Key",
    "X-OpenAI-Key",
    "X-Gemini-Key",
    "X-Anthropic-Key",
    "X-Mistral-Key",
    "X-AWS-Bearer-Token",
    "X-AWS-Access-Key",
    "X-AWS-Secret-Key",
    "X-AWS-Session-Token",
    "X-Amz-Security-Token",
    "Cookie",
    "X-Custom-Secret",
    "X-Goog-Upload-File-Name",
    "OpenAI-Organization",
)
PARAMETERS = ("key", "api_key", "access_token", "X-Amz-Signature", "after", "metadata[owner]")


@dataclass(frozen=True)
class Call:
    host: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.method} {self.host}{self.path.partition('?')[0]}"


def slots(canaries: Canaries) -> dict[str, str]:
    """The client's own keys, in every header that could take one."""
    own = {name: canaries(f"slot {name}") for name in SLOTS}
    return own | {"Authorization": f"Bearer {own['Authorization']}", "Cookie": f"session={own['Cookie']}"}


def query(canaries: Canaries) -> str:
    return "&".join(f"{name}={canaries(f'query {name}')}" for name in PARAMETERS)


def post(host: str, path: str, body: dict[str, Any], **headers: str) -> Call:
    return Call(host, "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def file_data(text: str) -> str:
    return f"data:text/plain;base64,{in_base64(text)}"


def form(host: str, path: str, fields: dict[str, str], files: dict[str, tuple[str, str]]) -> Call:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts += [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n{content}\r\n"
        for name, (filename, content) in files.items()
    ]
    body = "".join(parts) + f"--{BOUNDARY}--\r\n"
    return Call(host, "POST", path, body.encode(), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})


def openai_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of openai {what}")

    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": [say("tool argument")]}}}
    function = {"name": "weather", "description": say("tool description"), "parameters": schema}
    chat = {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": say("system")},
            {"role": "user", "name": "u", "content": say("prompt")},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": json.dumps({"city": say("past argument")})},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": say("tool result")},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": say("part")},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{in_base64(say('image'))}"}},
                ],
            },
        ],
        "metadata": {"owner": say("metadata")},
        "user": say("user"),
        "stop": [say("stop")],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"title": say("schema")}}},
    }
    tools = {"tools": [{"type": "function", "function": function}]}
    asking = {
        **chat,
        **tools,
        "messages": [*chat["messages"], {"role": "user", "content": f"call a tool {say('asking')}"}],
    }
    responses = {
        "model": "gpt-4o-mini",
        "instructions": say("instructions"),
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": say("input")},
                    {"type": "input_file", "filename": say("filename"), "file_data": file_data(say("file data"))},
                ],
            }
        ],
        "metadata": {"owner": say("responses metadata")},
        "tools": [{"type": "function", "strict": False, **function}],
    }
    return [
        post(OPENAI, "/v1/chat/completions", chat),
        post(OPENAI, "/v1/chat/completions", {**chat, "stream": True}),
        post(OPENAI, "/v1/chat/completions", {**asking, "stream": True}),
        post(OPENAI, "/v1/chat/completions", {**asking, "store": True}),
        Call(OPENAI, "GET", "/v1/chat/completions"),
        post(OPENAI, "/v1/responses", responses),
        post(OPENAI, "/v1/responses", {**responses, "stream": True}),
        post(OPENAI, "/v1/responses/input_tokens", responses),
        post(
            OPENAI,
            "/v1/completions",
            {"model": "gpt-3.5-turbo-instruct", "prompt": say("completion prompt"), "suffix": say("suffix")},
        ),
        post(
            OPENAI,
            "/v1/completions",
            {"model": "gpt-3.5-turbo-instruct", "prompt": say("completion prompt"), "stream": True},
        ),
        post(OPENAI, "/v1/embeddings", {"model": "text-embedding-3-small", "input": [say("embedded")]}),
        post(OPENAI, "/v1/moderations", {"model": "omni-moderation-latest", "input": say("moderated")}),
        post(OPENAI, "/v1/images/generations", {"model": "gpt-image-1", "prompt": say("picture")}),
        form(
            OPENAI,
            "/v1/images/edits",
            {"model": "gpt-image-1", "prompt": say("edit")},
            {"image": (say("image name"), say("image bytes"))},
        ),
        form(OPENAI, "/v1/images/variations", {"model": "dall-e-2"}, {"image": ("a.png", say("variation bytes"))}),
        post(
            OPENAI,
            "/v1/audio/speech",
            {"model": "tts-1", "voice": "alloy", "input": say("spoken"), "instructions": say("tone")},
        ),
        form(
            OPENAI,
            "/v1/audio/transcriptions",
            {"model": "whisper-1", "prompt": say("transcription prompt")},
            {"file": (say("audio name"), say("audio bytes"))},
        ),
        form(
            OPENAI,
            "/v1/audio/translations",
            {"model": "whisper-1", "prompt": say("translation prompt")},
            {"file": ("a.wav", say("translated bytes"))},
        ),
        form(OPENAI, "/v1/files", {"purpose": "assistants"}, {"file": (say("file name"), say("file bytes"))}),
        Call(OPENAI, "GET", "/v1/files"),
        Call(OPENAI, "GET", "/v1/models"),
        Call(OPENAI, "GET", "/v1/models/gpt-4o-mini"),
        post(
            OPENAI,
            "/v1/uploads",
            {"purpose": "batch", "filename": say("upload name"), "bytes": 9, "mime_type": "text/plain"},
        ),
        post(
            OPENAI,
            "/v1/batches",
            {
                "input_file_id": "file-1",
                "endpoint": "/v1/responses",
                "completion_window": "24h",
                "metadata": {"owner": say("batch metadata")},
            },
        ),
    ]


def gemini_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of gemini {what}")

    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "enum": [say("tool argument")]}}}
    asked = {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": say("prompt")},
                    {"inlineData": {"mimeType": "image/png", "data": in_base64(say("data"))}},
                ],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": say("past argument")}}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "weather", "response": {"is": say("tool result")}}}],
            },
        ],
        "systemInstruction": {"parts": [{"text": say("system")}]},
        "generationConfig": {"stopSequences": [say("stop")]},
        "labels": {"owner": say("label")},
    }
    asking = {
        **asked,
        "contents": [*asked["contents"], {"role": "user", "parts": [{"text": f"call a tool {say('asking')}"}]}],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "description": say("tool description"), "parameters": schema}
                ]
            }
        ],
    }
    model, embedding = "/v1beta/models/gemini-2.5-flash", "/v1beta/models/gemini-embedding-001"
    content = {"content": {"parts": [{"text": say("embedded")}]}}
    chat = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": say("chat prompt")}]}
    return [
        post(GEMINI, f"{model}:generateContent", asked),
        post(GEMINI, f"{model}:generateContent", asking),
        post(GEMINI, f"{model}:streamGenerateContent?alt=sse", asked),
        post(GEMINI, f"{model}:streamGenerateContent?alt=sse", asking),
        post(GEMINI, f"{model}:streamGenerateContent", asked),
        post(GEMINI, f"{model}:countTokens", {"contents": asked["contents"]}),
        post(GEMINI, f"{embedding}:embedContent", {"title": say("title"), **content}),
        post(
            GEMINI,
            f"{embedding}:batchEmbedContents",
            {"requests": [{"model": "models/gemini-embedding-001", **content}]},
        ),
        Call(GEMINI, "GET", "/v1beta/models"),
        post(
            GEMINI,
            "/v1beta/cachedContents",
            {"model": "models/gemini-2.5-flash", "displayName": say("cache name"), **asked},
        ),
        Call(GEMINI, "GET", "/v1beta/cachedContents"),
        Call(
            GEMINI,
            "POST",
            "/upload/v1beta/files",
            json.dumps({"file": {"displayName": say("file name")}}).encode(),
            {
                "Content-Type": "application/json",
                "X-Goog-Upload-Protocol": "resumable",
                "X-Goog-Upload-Command": "start",
                "X-Goog-Upload-Header-Content-Type": "text/plain",
            },
        ),
        Call(GEMINI, "GET", "/v1beta/files"),
        post(GEMINI, "/v1beta/openai/chat/completions", chat),
        post(GEMINI, "/v1beta/openai/chat/completions", {**chat, "stream": True}),
        post(GEMINI, "/v1beta/openai/embeddings", {"model": "gemini-embedding-001", "input": say("openai embedded")}),
    ]


def anthropic_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of anthropic {what}")

    version = {"anthropic-version": "2023-06-01"}
    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": [say("tool argument")]}}}
    message = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64,
        "system": [{"type": "text", "text": say("system")}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": say("prompt")},
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": say("document")},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": say("past argument")}}
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": say("tool result")}]},
        ],
        "metadata": {"user_id": say("metadata")},
        "stop_sequences": [say("stop")],
        "tools": [{"name": "weather", "description": say("tool description"), "input_schema": schema}],
    }
    asking = {
        **message,
        "messages": [*message["messages"], {"role": "user", "content": f"call a tool {say('asking')}"}],
    }
    file = form(ANTHROPIC, "/v1/files", {}, {"file": (say("file name"), say("file bytes"))})
    return [
        post(ANTHROPIC, "/v1/messages", message, **version),
        post(ANTHROPIC, "/v1/messages", {**message, "stream": True}, **version),
        post(ANTHROPIC, "/v1/messages", asking, **version),
        post(ANTHROPIC, "/v1/messages", {**asking, "stream": True}, **version),
        post(
            ANTHROPIC,
            "/v1/messages/count_tokens",
            {name: message[name] for name in ("model", "system", "messages", "tools")},
            **version,
        ),
        post(
            ANTHROPIC,
            "/v1/messages/batches",
            {"requests": [{"custom_id": say("custom id"), "params": message}]},
            **version,
        ),
        Call(ANTHROPIC, "GET", "/v1/messages/batches", headers=version),
        Call(ANTHROPIC, "GET", "/v1/models", headers=version),
        Call(file.host, file.method, file.path, file.body, {**file.headers, **version}),
        Call(ANTHROPIC, "GET", "/v1/files", headers=version),
    ]


def bedrock_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of bedrock {what}")

    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": [say("tool argument")]}}}
    converse = {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"text": say("prompt")},
                    {
                        "document": {
                            "format": "txt",
                            "name": say("document name"),
                            "source": {"bytes": in_base64(say("document"))},
                        }
                    },
                ],
            }
        ],
        "system": [{"text": say("system")}],
        "requestMetadata": {"owner": say("metadata")},
    }
    asking = {
        **converse,
        "messages": [{"role": "user", "content": [{"text": f"call a tool {say('asking')}"}]}],
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "weather",
                        "description": say("tool description"),
                        "inputSchema": {"json": schema},
                    }
                }
            ]
        },
    }
    claude = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 32,
        "system": say("claude system"),
        "messages": [{"role": "user", "content": say("claude prompt")}],
    }
    nova = {
        "schemaVersion": "messages-v1",
        "system": [{"text": say("nova system")}],
        "messages": [{"role": "user", "content": [{"text": say("nova prompt")}]}],
    }
    return [
        post(BEDROCK, f"{CLAUDE}/converse", converse),
        post(BEDROCK, f"{CLAUDE}/converse", asking),
        post(BEDROCK, f"{CLAUDE}/converse-stream", converse),
        post(BEDROCK, f"{CLAUDE}/converse-stream", asking),
        post(BEDROCK, f"{CLAUDE}/invoke", claude),
        post(BEDROCK, f"{CLAUDE}/invoke-with-response-stream", claude),
        post(BEDROCK, f"{NOVA}/invoke", nova),
        post(BEDROCK, f"{NOVA}/invoke-with-response-stream", nova),
        post(BEDROCK, "/model/amazon.titan-text-express-v1/invoke", {"inputText": say("titan prompt")}),
        post(BEDROCK, "/model/meta.llama3-8b-instruct-v1%3A0/invoke", {"prompt": say("llama prompt")}),
        post(BEDROCK, "/model/mistral.mistral-7b-instruct-v0%3A2/invoke", {"prompt": say("mistral prompt")}),
        post(
            BEDROCK,
            "/model/cohere.command-r-v1%3A0/invoke",
            {"message": say("cohere message"), "preamble": say("preamble")},
        ),
    ]


def vertex_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of vertex {what}")

    schema = {"type": "object", "properties": {"city": {"type": "string", "description": say("schema")}}}
    google = {
        "contents": [
            {"role": "user", "parts": [{"text": say("prompt")}]},
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": in_base64(say("image"))}}]},
        ],
        "systemInstruction": {"parts": [{"text": say("system")}]},
        "tools": [{"functionDeclarations": [{"name": "weather", "description": say("tool"), "parameters": schema}]}],
    }
    claude = {
        "max_tokens": 50,
        "system": say("system of claude"),
        "messages": [{"role": "user", "content": f"call a tool {say('question of claude')}"}],
        "tools": [{"name": "weather", "description": say("tool of claude"), "input_schema": schema}],
    }
    own = {"anthropic_version": "vertex-2023-10-16", **claude}
    chat = {"messages": [{"role": "user", "content": say("chat prompt")}]}
    models = f"/v1/{AT_VERTEX}/publishers"
    flash, sonnet = f"{models}/google/models/gemini-2.5-flash", f"{models}/anthropic/models/claude-sonnet-4-5"
    return [
        post(VERTEX, f"{flash}:generateContent", google),
        post(VERTEX, f"{flash}:streamGenerateContent?alt=sse", google),
        post(VERTEX, f"{flash}:countTokens", {"contents": google["contents"]}),
        post(VERTEX, f"{sonnet}:rawPredict", own),
        post(VERTEX, f"{sonnet}:streamRawPredict", {**own, "stream": True}),
        post(VERTEX, f"/v1/{AT_VERTEX}/endpoints/openapi/chat/completions", {**chat, "model": "google/gemini-2.5-pro"}),
        # Moved, and translated.
        post(OPENAI, "/v1/chat/completions", {**chat, "model": "vertex:gemini-2.5-flash", "stream": True}),
        post(OPENAI, "/v1/chat/completions", {**chat, "model": "vertex:claude-sonnet-4-5"}),
        post(
            ANTHROPIC,
            "/v1/messages",
            {**claude, "model": "vertex:claude-sonnet-4-5"},
            **{"anthropic-version": "2023-06-01"},
        ),
    ]


def mistral_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of mistral {what}")

    function = {"name": "weather", "description": say("tool"), "parameters": {"type": "object", "title": say("schema")}}
    chat = {
        "model": "magistral-medium-latest",
        "messages": [
            {"role": "system", "content": say("system")},
            {"role": "user", "content": say("prompt")},
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": say("past thought")}]}],
                "tool_calls": [{"id": "a1b2c3d4e", "function": {"name": "weather", "arguments": say("past argument")}}],
            },
            {"role": "tool", "tool_call_id": "a1b2c3d4e", "content": say("tool result")},
            {"role": "assistant", "content": say("prefix"), "prefix": True},
        ],
        "tools": [{"type": "function", "function": function}],
        "metadata": {"owner": say("metadata")},
        "stop": [say("stop")],
    }
    completion = {"model": "codestral-latest", "prompt": say("beginning"), "suffix": say("end")}
    moved = {"messages": [{"role": "developer", "content": say("moved prompt")}, {"role": "user", "content": "hi"}]}
    return [
        post(MISTRAL, "/v1/chat/completions", chat),
        post(MISTRAL, "/v1/chat/completions", chat | {"stream": True}),
        post(MISTRAL, "/v1/fim/completions", completion),
        post(MISTRAL, "/v1/fim/completions", completion | {"stream": True}),
        post(MISTRAL, "/v1/embeddings", {"model": "mistral-embed", "input": [say("text"), "two"]}),
        Call(MISTRAL, "GET", "/v1/models"),
        # Moved, and translated.
        post(OPENAI, "/v1/chat/completions", {**moved, "model": "mistral:mistral-large-latest", "stream": True}),
        post(OPENAI, "/v1/responses", {"input": say("input"), "model": "mistral:mistral-large-latest"}),
    ]


def custom_calls(c: Canaries) -> list[Call]:
    def say(what: str) -> str:
        return c(f"content of azure {what}")

    parts = [
        {"type": "text", "text": say("prompt")},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{in_base64(say('image'))}"}},
    ]
    function = {"name": "weather", "description": say("tool"), "parameters": {"type": "object", "properties": {}}}
    chat = {
        "messages": [{"role": "system", "content": say("system")}, {"role": "user", "content": parts}],
        "tools": [{"type": "function", "function": function}],
    }
    message = {"max_tokens": 50, "messages": [{"role": "user", "content": say("message")}]}
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    return [
        post(AZURE, path, chat),
        post(AZURE, path, {**chat, "stream": True}),
        post(AZURE, "/openai/v1/responses", {"model": "gpt-4o", "input": say("input"), "stream": True}),
        post(OPENAI, "/v1/chat/completions", {**chat, "model": "azure:gpt-4o"}),
        post(ANTHROPIC, "/v1/messages", {**message, "model": "azure:gpt-4o"}, **{"anthropic-version": "2023-06-01"}),
    ]


def all_calls(canaries: Canaries) -> list[Call]:
    every = (openai_calls, gemini_calls, anthropic_calls, bedrock_calls, vertex_calls, mistral_calls, custom_calls)
    made = [of(canaries) for of in every]
    return [call for calls in made for call in calls]


def broken_calls(canaries: Canaries) -> list[Call]:
    """Requests that Wirekey refuses, in which what is wrong is the content itself."""

    def say(what: str) -> str:
        return canaries(f"content of broken {what}")

    chat = "/v1/chat/completions"
    kind = {"Content-Type": "application/json"}
    model = "/v1beta/models/gemini-2.5-flash:generateContent"
    return [
        *(
            Call(
                host,
                "POST",
                path,
                body.encode(),
                kind | ({"anthropic-version": "2023-06-01"} if host == ANTHROPIC else {}),
            )
            for host, path in (
                (OPENAI, chat),
                (GEMINI, model),
                (ANTHROPIC, "/v1/messages"),
                (BEDROCK, f"{CLAUDE}/converse"),
                (MISTRAL, chat),
            )
            for body in (
                '{"model":"m","messages":[@'.replace("@", say("JSON")),
                '{"model":"m","@":1,"model":"m"}'.replace("@", say("key")),
                '{"model":{"@":1},"messages":"@","contents":"@","system":{"a":"@"}}'.replace("@", say("type")),
                '{"model":"m","stream":"@","max_tokens":"@","tools":"@"}'.replace("@", say("flag")),
                '["@"]'.replace("@", say("array")),
                say("text"),
            )
        ),
        Call(OPENAI, "POST", chat, say("encoded").encode(), kind | {"Content-Encoding": "gzip"}),
        Call(
            OPENAI,
            "POST",
            "/v1/images/edits",
            say("form").encode(),
            {"Content-Type": "multipart/form-data; boundary=x"},
        ),
        Call(OPENAI, "POST", chat, b'{"model":"m","messages":["' + say("large").encode() * 40_000 + b'"]}', kind),
        Call(OPENAI, "POST", "/v1/no/such/operation", say("unknown").encode(), kind),
        Call(OPENAI, "TRACE", chat),
    ]
