"""Rollup of conversations with tools and images, in each format: turns go as a whole, or stay as a whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.own_simulator import simulator
from tests.support.running import wait_for, wirekey_behind
from tests.support.sessions import PNG
from wirekey.core.call import new_call_id
from wirekey_simulator.text import TEXT

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
ROLLUP = {"enabled": True, "entries": 200, "threshold": 10**6}
PICTURE = base64.b64encode(PNG).decode()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "parameters": SCHEMA}


class Form(NamedTuple):
    """A format: where a request goes, its body without messages, and its messages."""

    path: str
    body: dict[str, Any]
    member: str
    user: Callable[..., Any]
    """With a text, and perhaps an image."""
    said: Any
    turn: list[Any]
    """Two calls of a tool at once, and their results."""
    system: Callable[[dict], str | None]


def of_chat(text, image=False):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    return {"role": "user", "content": [{"type": "text", "text": text}, part] if image else text}


def of_gemini(text, image=False):
    parts = [{"text": text}, *([{"inlineData": {"mimeType": "image/png", "data": PICTURE}}] if image else [])]
    return {"role": "user", "parts": parts}


def of_anthropic(text, image=False):
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    return {
        "role": "user",
        "content": [{"type": "text", "text": text}, {"type": "image", "source": source}][: 1 + image],
    }


def of_converse(text, image=False):
    picture = {"image": {"format": "png", "source": {"bytes": PICTURE}}}
    return {"role": "user", "content": [{"text": text}, picture][: 1 + image]}


NAMES = (("call_1", "Rome", "sunny in Rome"), ("call_2", "Oslo", "rain in Oslo"))
FORMS = {
    "openai.chat": Form(
        "/v1/chat/completions",
        {
            "model": "gpt-4o-mini",
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        },
        "messages",
        of_chat,
        {"role": "assistant", "content": TEXT},
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": name,
                        "type": "function",
                        "function": {"name": "weather", "arguments": json.dumps({"city": city})},
                    }
                    for name, city, _ in NAMES
                ],
            },
            *({"role": "tool", "tool_call_id": name, "content": result} for name, _, result in NAMES),
        ],
        lambda body: body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else None,
    ),
    "gemini": Form(
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"tools": [{"functionDeclarations": [FUNCTION]}]},
        "contents",
        of_gemini,
        {"role": "model", "parts": [{"text": TEXT}]},
        [
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "weather", "args": {"city": c}}} for _, c, _ in NAMES],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "weather", "response": {"is": is_}}} for _, _, is_ in NAMES],
            },
        ],
        lambda body: body["systemInstruction"]["parts"][0]["text"] if "systemInstruction" in body else None,
    ),
    "anthropic": Form(
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 64, "tools": [{"name": "weather", "input_schema": SCHEMA}]},
        "messages",
        of_anthropic,
        {"role": "assistant", "content": [{"type": "text", "text": TEXT}]},
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": f"tool{name}", "name": "weather", "input": {"city": city}}
                    for name, city, _ in NAMES
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": f"tool{name}", "content": result}
                    for name, _, result in NAMES
                ],
            },
        ],
        lambda body: body.get("system"),
    ),
    "converse": Form(
        "/model/amazon.nova-lite-v1%3A0/converse",
        {"toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}]}},
        "messages",
        of_converse,
        {"role": "assistant", "content": [{"text": TEXT}]},
        [
            {
                "role": "assistant",
                "content": [
                    {"toolUse": {"toolUseId": name, "name": "weather", "input": {"city": city}}}
                    for name, city, _ in NAMES
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": name, "content": [{"text": result}]}} for name, _, result in NAMES
                ],
            },
        ],
        lambda body: "".join(block["text"] for block in body["system"]) if body.get("system") else None,
    ),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    with wirekey_behind(folder, simulator, listen=LISTEN, rollup=ROLLUP) as wirekey:
        wirekey.tokens = {agent: wirekey.add_agent(agent) for agent in ("alice", "bob")}
        yield wirekey


class Talk:
    """Asks in one format, and returns what arrives at the provider."""

    def __init__(self, running, simulator, form: Form, agent: str = "alice") -> None:
        self.running, self.simulator, self.form = running, simulator, form
        token = running.tokens[agent]
        self.headers = {"authorization": f"Bearer {token}"}
        if form.path == "/v1/messages":
            self.headers["anthropic-version"] = "2023-06-01"

    def sent(self, messages) -> tuple[list, str | None]:
        """Ask once. Return the messages that arrived, without those of the system, and the system prompt."""
        self.simulator.forget()
        url = f"http://{self.running.running.gateway}{self.form.path}"
        body = self.form.body | {self.form.member: messages}
        response = httpx.post(url, json=body, headers=self.headers, timeout=60, trust_env=False)
        assert response.status_code == 200, response.text
        (seen,) = self.simulator.seen
        arrived = json.loads(seen.body)
        left = [message for message in arrived[self.form.member] if message.get("role") != "system"]
        return left, self.form.system(arrived)

    def until(self, messages, count: int) -> str:
        """Ask until so many messages are left, which are the last ones. Return the system prompt."""

        def ask():
            left, system = self.sent(messages)
            assert left == messages[-len(left) :]
            return system if len(left) == count else None

        return wait_for(ask, f"{count} of {len(messages)} messages to be left")


@pytest.fixture(params=FORMS)
def talk(request, running, simulator):
    return Talk(running, simulator, FORMS[request.param])


def test_calls_and_results_go_together_once_a_text_has_followed(talk):
    form = talk.form
    first = [form.user(f"Hello {new_call_id()}")]
    talk.sent(first)
    talk.until([*first, form.said, form.user("More.")], 1)
    # The calls and their results stay while the loop runs, with the question before them.
    asked = [*first, form.said, form.user("How is the weather?"), *form.turn]
    left, system = talk.sent(asked)
    assert left == asked[2:]
    assert "Oslo" not in system
    # The response to them is a text, so the whole turn goes with the next question.
    stored = talk.until([*asked, form.said, form.user("Thanks.")], 1)
    for word in ("How is the weather?", "Rome", "Oslo", "sunny in Rome", "rain in Oslo"):
        assert word in stored


def test_a_message_with_an_image_and_all_that_follows_stay(talk):
    form = talk.form
    first = [form.user(f"Hello {new_call_id()}")]
    talk.sent(first)
    talk.until([*first, form.said, form.user("More.")], 1)
    shown = [*first, form.said, form.user("Look.", True)]
    assert talk.until(shown, 1)
    after = [*shown, form.said, form.user("And?")]
    for _ in range(3):
        left, system = talk.sent(after)
        assert left == after[2:]
        assert PICTURE not in system
        after = [*after, form.said, form.user("And?")]


def test_two_agents_with_the_same_tools_and_words_share_nothing(talk):
    form = talk.form
    said = [form.user(f"Weather {new_call_id()}?"), *form.turn]
    talk.sent(said)
    again = [*said, form.said, form.user("Thanks.")]
    talk.until(again, 1)
    bob = Talk(talk.running, talk.simulator, form, "bob")
    assert bob.sent(again) == (again, None)


def test_no_cut_parts_anything_in_whatever_order_conversations_come(running, simulator):
    """Every prefix of a long conversation is asked for. What is left always begins with a question."""
    form = FORMS["anthropic"]
    talk = Talk(running, simulator, form)
    whole: list[Any] = []
    for number in range(1, 7):
        whole += [form.user(f"Question {number} {new_call_id()}", number == 4), *(form.turn if number % 2 else [])]
        left, _ = talk.sent(whole)
        results = {block["tool_use_id"] for message in left for block in message["content"] if "tool_use_id" in block}
        calls = {block["id"] for message in left for block in message["content"] if block["type"] == "tool_use"}
        assert results <= calls
        assert left[0]["content"][0]["type"] == "text"
        assert left[0]["role"] == "user"
        whole.append(form.said)
