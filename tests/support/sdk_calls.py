"""The same calls with each official SDK, direct or through a proxy: only base_url, key and trust differ."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import anthropic
import boto3
import botocore.config
import httpx
import httpx2
import openai
from google import genai
from google.genai import types
from mistralai.client import Mistral

PROMPT = "Say something about canaries."
CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"


@dataclass
class Way:
    """How a client reaches the providers. `keys` by provider; `url` None for the provider's own host."""

    ca: Path
    keys: dict[str, str]
    url: str | None = None

    def at(self, path: str) -> str | None:
        return None if self.url is None else self.url + path


def openai_client(way: Way, **options) -> openai.OpenAI:
    return openai.OpenAI(
        api_key=way.keys["openai"],
        base_url=way.at("/v1"),
        max_retries=0,
        http_client=httpx.Client(verify=ssl.create_default_context(cafile=way.ca), **options),
    )


def anthropic_client(way: Way, **options) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key=way.keys["anthropic"],
        base_url=way.url,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(verify=ssl.create_default_context(cafile=way.ca), **options),
    )


def gemini_client(way: Way) -> genai.Client:
    context = ssl.create_default_context(cafile=way.ca)
    return genai.Client(
        api_key=way.keys["gemini"],
        http_options=types.HttpOptions(
            base_url=way.url, client_args={"verify": context}, async_client_args={"ssl": context}
        ),
    )


def mistral_client(way: Way, **options) -> Mistral:
    return Mistral(
        api_key=way.keys["mistral"],
        server_url=way.url,
        client=httpx2.Client(verify=ssl.create_default_context(cafile=way.ca), **options),
    )


def bedrock_client(way: Way, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", way.keys["bedrock"])
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=way.url,
        verify=str(way.ca),
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def openai_chat(way, _):
    response = openai_client(way).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], max_tokens=50
    )
    return [response.choices[0].message.content, response.usage.prompt_tokens, response.choices[0].finish_reason]


def openai_chat_stream(way, _):
    stream = openai_client(way).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    return [chunk.model_dump(exclude={"id", "created"}, exclude_unset=True) for chunk in stream]


def openai_responses(way, _):
    response = openai_client(way).responses.create(model="gpt-4o-mini", input=PROMPT)
    return [response.output_text, response.usage.input_tokens]


def openai_responses_stream(way, _):
    stream = openai_client(way).responses.create(model="gpt-4o-mini", input=PROMPT, stream=True)
    return [event.type for event in stream]


def openai_embeddings(way, _):
    response = openai_client(way).embeddings.create(model="text-embedding-3-small", input=[PROMPT, "two"])
    return [len(response.data), response.data[0].embedding[:3], response.usage.prompt_tokens]


def gemini_generate(way, _):
    client = gemini_client(way)  # it closes when it is collected
    response = client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT)
    return [response.text, response.usage_metadata.prompt_token_count]


def gemini_stream(way, _):
    client = gemini_client(way)
    stream = client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT)
    return [chunk.text for chunk in stream]


def anthropic_messages(way, _):
    response = anthropic_client(way).messages.create(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    )
    return [response.content[0].text, response.usage.input_tokens, response.stop_reason]


def anthropic_stream(way, _):
    with anthropic_client(way).messages.stream(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    ) as stream:
        return list(stream.text_stream)


def mistral_chat(way, _):
    response = mistral_client(way).chat.complete(
        model="mistral-large-latest", messages=[{"role": "user", "content": PROMPT}], random_seed=3, safe_prompt=True
    )
    return [response.choices[0].message.content, response.usage.prompt_tokens, response.choices[0].finish_reason]


def mistral_chat_stream(way, _):
    stream = mistral_client(way).chat.stream(
        model="magistral-medium-latest", messages=[{"role": "user", "content": PROMPT}]
    )
    return [event.data.model_dump(exclude={"id", "created"}, exclude_unset=True) for event in stream]


def mistral_fim(way, _):
    response = mistral_client(way).fim.complete(model="codestral-latest", prompt="def add(a, b): return", suffix="\n")
    return [response.choices[0].message.content, response.usage.completion_tokens]


def mistral_fim_stream(way, _):
    stream = mistral_client(way).fim.stream(model="codestral-latest", prompt="def add(a, b): return", suffix="\n")
    return [event.data.choices[0].delta.content for event in stream]


def mistral_embeddings(way, _):
    response = mistral_client(way).embeddings.create(model="mistral-embed", inputs=[PROMPT, "two"])
    return [len(response.data), response.data[0].embedding[:3], response.usage.prompt_tokens]


def bedrock_converse(way, monkeypatch):
    response = bedrock_client(way, monkeypatch).converse(
        modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    return [response["output"], response["usage"], response["stopReason"]]


def bedrock_converse_stream(way, monkeypatch):
    response = bedrock_client(way, monkeypatch).converse_stream(
        modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    return list(response["stream"])


def bedrock_invoke(way, monkeypatch):
    body = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":32,"messages":[{"role":"user","content":"hi"}]}'
    response = bedrock_client(way, monkeypatch).invoke_model(modelId=CLAUDE, body=body)
    return [response["body"].read()]


def bedrock_invoke_stream(way, monkeypatch):
    body = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":32,"messages":[{"role":"user","content":"hi"}]}'
    response = bedrock_client(way, monkeypatch).invoke_model_with_response_stream(modelId=CLAUDE, body=body)
    return [event["chunk"]["bytes"] for event in response["body"]]


CALLS = {
    "openai-chat": (openai_chat, "openai", "chat.completions", False),
    "openai-chat-stream": (openai_chat_stream, "openai", "chat.completions", True),
    "openai-responses": (openai_responses, "openai", "responses", False),
    "openai-responses-stream": (openai_responses_stream, "openai", "responses", True),
    "openai-embeddings": (openai_embeddings, "openai", "embeddings", False),
    "gemini-generate": (gemini_generate, "gemini", "generateContent", False),
    "gemini-stream": (gemini_stream, "gemini", "streamGenerateContent", True),
    "anthropic-messages": (anthropic_messages, "anthropic", "messages", False),
    "anthropic-stream": (anthropic_stream, "anthropic", "messages", True),
    "bedrock-converse": (bedrock_converse, "bedrock", "converse", False),
    "bedrock-converse-stream": (bedrock_converse_stream, "bedrock", "converse-stream", True),
    "bedrock-invoke": (bedrock_invoke, "bedrock", "invoke", False),
    "bedrock-invoke-stream": (bedrock_invoke_stream, "bedrock", "invoke-with-response-stream", True),
    "mistral-chat": (mistral_chat, "mistral", "chat.completions", False),
    "mistral-chat-stream": (mistral_chat_stream, "mistral", "chat.completions", True),
    "mistral-fim": (mistral_fim, "mistral", "fim.completions", False),
    "mistral-fim-stream": (mistral_fim_stream, "mistral", "fim.completions", True),
    "mistral-embeddings": (mistral_embeddings, "mistral", "embeddings", False),
}
"""Name → the call, its provider, its operation, whether it streams."""
