"""A model for speech that talks over Bedrock's two-way operation, as Nova Sonic does.

The client sends events: sessionStart, promptStart, then contents (contentStart, textInput or audioInput, contentEnd),
promptEnd and sessionEnd. The model answers each content of the user in text, and in audio if the prompt asks for that.
https://docs.aws.amazon.com/nova/latest/userguide/input-events.html
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_simulator import text
from wirekey_simulator.eventstream import message
from wirekey_simulator.exchange import BadRequest, Json, encode, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour

AUDIO_PIECES = 3
SOUND_BYTES = 960
"""Bytes of a piece of audio: 20 ms of 16-bit samples at 24 kHz."""
BYTES_PER_SPEECH_TOKEN = 640


class SpeechModel:
    """The model's side of one connection."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.prompt = ""
        self.speaks = False
        self.is_open = False
        self.is_completing = False
        self.has_ended = False
        """Whether the client has ended the session."""
        self.content: Json = {}
        self.said = ""
        self.audio_bytes = 0
        self.contents = 0
        self.counts = {"input": {"speechTokens": 0, "textTokens": 0}, "output": {"speechTokens": 0, "textTokens": 0}}

    def receive(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the frames with which the model answers one event of the client. Raises BadRequest."""
        for name, values in self.answer(*event_of(chunk)):
            value = encode({"event": {name: values}})
            yield message("chunk", encode({"bytes": base64.b64encode(value).decode(), "p": "abcdefgh"}))

    def answer(self, name: str, values: Json) -> Iterator[tuple[str, Json]]:
        """Yield names and values of the events that answer one of the client's. Raises BadRequest."""
        if not self.is_open and name != "sessionStart":
            raise BadRequest(f"Expected sessionStart, got {name}.")
        if name == "sessionStart":
            self.is_open = True
        elif name == "promptStart":
            self.prompt = str(values["promptName"])
            self.speaks = "audioOutputConfiguration" in values
        elif name == "contentStart":
            self.content, self.said, self.audio_bytes = values, "", 0
        elif name == "textInput":
            self.said += str(values["content"])
        elif name == "audioInput":
            self.audio_bytes += len(base64.b64decode(values["content"], validate=True))
        elif name == "contentEnd":
            yield from self.complete()
        elif name == "promptEnd":
            if self.is_completing:
                self.is_completing = False
                yield "completionEnd", {**self.names(), "stopReason": "END_TURN"}
        elif name == "sessionEnd":
            self.has_ended = True
        else:
            raise BadRequest(f"The event {name} is not known.")

    def complete(self) -> Iterator[tuple[str, Json]]:
        """Answer the content that has ended, if it is the user's."""
        used = {
            "input": {"speechTokens": self.audio_bytes // BYTES_PER_SPEECH_TOKEN, "textTokens": len(self.said) // 4}
        }
        if self.content.get("role") != "USER":
            self.count(used)
            return
        if not self.is_completing:
            self.is_completing = True
            yield "completionStart", self.names()
        answer = f"You said: {self.said}" if self.said else f"I heard {self.audio_bytes} bytes."
        words = list(text.words(self.behaviour, answer))
        yield from self.content_events("TEXT", "textOutput", words)
        sound = [tone(f"{self.prompt}/{number}") for number in range(AUDIO_PIECES)] if self.speaks else []
        if sound:
            yield from self.content_events("AUDIO", "audioOutput", sound)
        used["output"] = {"speechTokens": len(sound) * SOUND_BYTES // BYTES_PER_SPEECH_TOKEN, "textTokens": len(words)}
        yield self.count(used)

    def content_events(self, kind: str, event: str, pieces: list[str]) -> Iterator[tuple[str, Json]]:
        """Yield a content of the model in pieces."""
        self.contents += 1
        names = {**self.names(), "contentId": named(f"{self.prompt}/content/{self.contents}")}
        yield "contentStart", {**names, "role": "ASSISTANT", "type": kind}
        for piece in pieces:
            yield event, {**names, "content": piece, "role": "ASSISTANT"}
        yield "contentEnd", {**names, "stopReason": "END_TURN", "type": kind}

    def count(self, used: dict[str, dict[str, int]]) -> tuple[str, Json]:
        """Add tokens, and return the event that reports them with those of the whole connection."""
        for side, kinds in used.items():
            for kind, number in kinds.items():
                self.counts[side][kind] += number
        sums = {side: sum(kinds.values()) for side, kinds in self.counts.items()}
        return "usageEvent", {
            **self.names(),
            "details": {"delta": used, "total": self.counts},
            "totalInputTokens": sums["input"],
            "totalOutputTokens": sums["output"],
            "totalTokens": sum(sums.values()),
        }

    def names(self) -> Json:
        """Return the ids of session, prompt and completion. The same prompt gets the same ids."""
        return {
            "sessionId": named(f"{self.prompt}/session"),
            "promptName": self.prompt,
            "completionId": named(f"{self.prompt}/completion"),
        }


@rules
def event_of(chunk: bytes) -> tuple[str, Any]:
    """Return name and values of an event of the client. Raises BadRequest."""
    value = msgspec.json.decode(chunk)
    ((name, values),) = value["event"].items()
    if not isinstance(values, dict):
        raise TypeError
    return str(name), values


def named(seed: str) -> str:
    """Return an id that depends on the seed alone."""
    return hashlib.sha256(seed.encode()).hexdigest()[:32]


def tone(seed: str) -> str:
    """Return a piece of audio, in base64."""
    block = hashlib.sha256(seed.encode()).digest()
    return base64.b64encode((block * (SOUND_BYTES // len(block)))[:SOUND_BYTES]).decode()
