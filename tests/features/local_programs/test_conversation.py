"""Conversations for a program: their text, the session that they continue, and what is refused."""

import json

import pytest

from wirekey.features.local_programs import conversation
from wirekey.features.local_programs.conversation import Sessions, UnsupportedError, read_conversation


def body(*texts, system=None, **more):
    """A request whose messages alternate between user and model."""
    contents = [{"role": ("user", "model")[place % 2], "parts": [{"text": text}]} for place, text in enumerate(texts)]
    data = {"contents": contents, **more}
    if system:
        data["systemInstruction"] = {"parts": [{"text": system}]}
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("data", "transcript"),
    [
        (body("Hi"), "Hi"),
        (body("Hi", system="Be brief."), "Be brief.\n\nHi"),
        (body("Hi", "Hello", "Why?"), "User: Hi\n\nAssistant: Hello\n\nUser: Why?"),
        (b'{"contents":{"parts":{"text":"alone"}}}', "alone"),
        (b'{"contents":[{"parts":[{"text":"a"},{"text":"b"}]},{"role":"user","parts":[{"text":"c"}]}]}', "a\nb\nc"),
        (
            body("a")
            .replace(b"]}]", b']},{"role":"model","parts":[{"text":"hm","thought":true},{"text":"b"}]}]')
            .replace(b"]}]}", b']},{"parts":[{"text":"c"}]}]}'),
            "User: a\n\nAssistant: b\n\nUser: c",
        ),
        (body("Hi", generationConfig={"temperature": 1}, tools=[], toolConfig=None), "Hi"),
    ],
)
def test_a_new_session_begins_with_the_transcript(data, transcript):
    assert read_conversation(data).transcript() == transcript


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (body("Hi", tools=[{"googleSearch": {}}]), "lacks tools"),
        (body("Hi", tool_config={"a": 1}), "lacks tools"),
        (body("Hi", cachedContent="cachedContents/1"), "lacks cached content"),
        (b'{"contents":[{"parts":[{"inlineData":{"data":"canary"}}]}]}', "lacks images and files"),
        (b'{"contents":[{"parts":[{"fileData":{"fileUri":"canary"}}]}]}', "lacks images and files"),
        (b'{"contents":[{"parts":[{"functionCall":{"name":"canary"}}]}]}', "lacks tools"),
        (body("Hi", "Hello"), "not the user's"),
        (body(), "no messages"),
        (b"canary", "not JSON"),
        (b"[]", "not an object"),
    ],
)
def test_what_a_program_lacks_is_refused_by_its_name_and_without_content(data, words):
    with pytest.raises(UnsupportedError, match=words) as refused:
        read_conversation(data)
    assert "canary" not in str(refused.value)


def test_a_conversation_goes_on_in_its_session_while_its_beginning_is_the_same():
    sessions = Sessions()
    first = read_conversation(body("Hi", system="Be brief."))
    assert sessions.take(first) is None
    sessions.keep(first, "Hello", "session-1")
    other = [
        body("Hi", "Hello", "Why?"),
        body("Hi", "hello", "Why?", system="Be brief."),
        body("Ho", "Hello", "Why?", system="Be brief."),
        body("Hi", system="Be brief."),
    ]
    for data in other:
        assert sessions.take(read_conversation(data)) is None
    second = read_conversation(body("Hi", "Hello", "Why?", system="Be brief."))
    assert sessions.take(second) == "session-1"
    # Taken by a request that is in progress, it serves no other.
    assert sessions.take(second) is None


def test_the_oldest_sessions_are_forgotten(monkeypatch):
    monkeypatch.setattr(conversation, "MOST_SESSIONS", 2)
    sessions = Sessions()
    for number in range(3):
        sessions.keep(read_conversation(body(f"{number}")), "Hello", f"session-{number}")
    found = [sessions.take(read_conversation(body(f"{number}", "Hello", "Why?"))) for number in range(3)]
    assert found == [None, "session-1", "session-2"]
