"""The program that `wirekey demo` runs behind the proxy: as anyone would write it, and knowing nothing of Wirekey.

Prints one JSON object a line: `provider`, `streamed`, `answer`, `pieces` (of the stream; 1 where it is none); or
`provider`, `error`, `message` where the SDK raised. With the argument `refused` it makes one call only, for which the
environment holds a token that no agent has.
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
    from openai import OpenAI

    answer = OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}]
    )
    yield answer.choices[0].message.content or ""


def openai_streamed() -> Iterator[str]:
    from openai import OpenAI

    stream = OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    for chunk in stream:
        yield chunk.choices[0].delta.content or ""


def gemini_plain() -> Iterator[str]:
    from google import genai

    client = genai.Client()
    yield client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT).text or ""


def gemini_streamed() -> Iterator[str]:
    from google import genai

    client = genai.Client()
    for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT):
        yield chunk.text or ""


def anthropic_plain() -> Iterator[str]:
    from anthropic import Anthropic

    answer = Anthropic(max_retries=0).messages.create(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    )
    yield "".join(block.text for block in answer.content if block.type == "text")


def anthropic_streamed() -> Iterator[str]:
    from anthropic import Anthropic

    with Anthropic(max_retries=0).messages.stream(
        model="claude-sonnet-4-5", max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    ) as stream:
        yield from stream.text_stream


def bedrock_plain() -> Iterator[str]:
    import boto3  # type: ignore[import-untyped]  # it ships no types

    answer = boto3.client("bedrock-runtime").converse(
        modelId=CLAUDE_ON_BEDROCK, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    yield answer["output"]["message"]["content"][0]["text"]


def bedrock_streamed() -> Iterator[str]:
    import boto3

    answer = boto3.client("bedrock-runtime").converse_stream(
        modelId=CLAUDE_ON_BEDROCK, messages=[{"role": "user", "content": [{"text": PROMPT}]}]
    )
    for event in answer["stream"]:
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
"""(provider, streamed) → the call, which gives the pieces of its answer as they come."""


def main(arguments: list[str]) -> None:
    calls = {("openai", False): openai_plain} if arguments == ["refused"] else CALLS
    for (provider, streamed), call in calls.items():
        try:
            pieces = [piece for piece in call() if piece]
        except Exception as error:  # what an SDK raises is the result that is shown
            result: dict[str, object] = {"error": type(error).__name__, "message": str(error)}
        else:
            result = {"answer": "".join(pieces), "pieces": len(pieces)}
        print(json.dumps({"provider": provider, "streamed": streamed, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
