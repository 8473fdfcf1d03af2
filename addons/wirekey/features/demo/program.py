"""The program that `wirekey demo` runs through the proxy. It is a usual program that knows nothing of Wirekey.

It prints one JSON object for each call: `provider`, `streamed`, `text` and `chunks` (1 without streaming), or
`provider`, `streamed`, `error` and `message` if the SDK raised. With the argument `refused` it makes only one call; the
token in its environment then belongs to no agent.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROMPT = "Why do canaries sing? (wirekey-demo-prompt)"
CLAUDE_ON_BEDROCK = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def openai_plain() -> Iterator[str]:
    """Call OpenAI without streaming."""
    from openai import OpenAI

    response = OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}]
    )
    yield response.choices[0].message.content or ""


def openai_streamed() -> Iterator[str]:
    """Call OpenAI with streaming."""
    from openai import OpenAI

    stream = OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    for chunk in stream:
        yield chunk.choices[0].delta.content or ""


def gemini_plain() -> Iterator[str]:
    """Call Gemini without streaming."""
    from google import genai

    client = genai.Client()
    yield client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT).text or ""


def gemini_streamed() -> Iterator[str]:
    """Call Gemini with streaming."""
    from google import genai

    client = genai.Client()
    for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT):
        yield chunk.text or ""


def anthropic_plain() -> Iterator[str]:
    """Call Anthropic without streaming."""
    from anthropic import Anthropic

    response = Anthropic(max_retries=0).messages.create(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    )
    yield "".join(block.text for block in response.content if block.type == "text")


def anthropic_streamed() -> Iterator[str]:
    """Call Anthropic with streaming."""
    from anthropic import Anthropic

    with Anthropic(max_retries=0).messages.stream(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    ) as stream:
        yield from stream.text_stream


def bedrock_plain() -> Iterator[str]:
    """Call Bedrock without streaming."""
    import boto3  # type: ignore[import-untyped]  # it ships no types

    response = boto3.client("bedrock-runtime").converse(
        modelId=CLAUDE_ON_BEDROCK, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    yield response["output"]["message"]["content"][0]["text"]


def bedrock_streamed() -> Iterator[str]:
    """Call Bedrock with streaming."""
    import boto3

    response = boto3.client("bedrock-runtime").converse_stream(
        modelId=CLAUDE_ON_BEDROCK, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    for event in response["stream"]:
        yield event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")


CALLS: dict[tuple[str, bool], Callable[[], Iterator[str]]] = {
    ("openai", False): openai_plain,
    ("openai", True): openai_streamed,
    ("gemini", False): gemini_plain,
    ("gemini", True): gemini_streamed,
    ("anthropic", False): anthropic_plain,
    ("anthropic", True): anthropic_streamed,
    ("bedrock", False): bedrock_plain,
    ("bedrock", True): bedrock_streamed,
}
"""(provider, streamed) → the function that makes the call and yields the chunks of the response as they arrive."""


def main(arguments: list[str]) -> None:
    """Make the calls and print their results."""
    calls = {("openai", False): openai_plain} if arguments == ["refused"] else CALLS
    for (provider, streamed), call in calls.items():
        try:
            chunks = [chunk for chunk in call() if chunk]
        except Exception as error:  # what an SDK raises is the result that is shown
            result: dict[str, object] = {"error": type(error).__name__, "message": str(error)}
        else:
            result = {"text": "".join(chunks), "chunks": len(chunks)}
        print(json.dumps({"provider": provider, "streamed": streamed, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
