"""`/v1/audio/…`: speech is silence, and a transcription is the simulator's own text."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from wirekey_simulator import text
from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, json_response, sse, sse_response
from wirekey_simulator.openai.chat import STREAM_ERROR
from wirekey_simulator.openai.form import read_form
from wirekey_simulator.openai.parameters import model, optional, required

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.openai.call import OpenAICall

FRAME = b"\xff\xfb\x90\x64".ljust(417, b"\0")
"""A silent frame of MP3: MPEG 1 layer III, 128 kbit/s, 44.1 kHz."""
FRAMES = 20
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def speech(call: OpenAICall) -> SimulatedResponse:
    """Return speech, whole or as events."""
    body = call.request.json()
    model(body)
    required(body, "input", str)
    required(body, "voice", str, dict)
    kind = TYPES.get(optional(body, "response_format", str) or "mp3")
    if kind is None:
        raise BadRequest(f"Invalid 'response_format': expected one of {', '.join(TYPES)}.", field="response_format")
    if optional(body, "stream_format", str) == "sse":
        return sse_response(_speech_events(call.behaviour, body), STREAM_ERROR)
    return SimulatedResponse(200, [("content-type", kind)], pieces=_frames(call.behaviour))


def transcribe(call: OpenAICall) -> SimulatedResponse:
    """Return a transcription or translation."""
    form = read_form(call.request)
    if not form.whole:
        raise BadRequest("Maximum content size limit (26214400) exceeded.", status=413)
    name = form.required("model")
    form.file("file")
    counts = text.counts(call.behaviour, {"prompt": form.fields.get("prompt", "")})
    usage = {"type": "duration", "seconds": 1} if name.startswith("whisper") else _usage(counts)
    if form.fields.get("stream") == "true" and not name.startswith("whisper"):
        return sse_response(_transcript_events(call.behaviour, usage), STREAM_ERROR)
    heard = text.whole(call.behaviour)
    kind = form.fields.get("response_format", "json")
    if kind == "json":
        return json_response({"text": heard, "usage": usage})
    if kind == "verbose_json":
        return json_response(_verbose(heard, usage))
    lines = {
        "text": f"{heard}\n",
        "srt": f"1\n00:00:00,000 --> 00:00:01,000\n{heard}\n\n",
        "vtt": f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{heard}\n\n",
    }
    if kind not in lines:
        raise BadRequest("Invalid 'response_format'.", field="response_format")
    return SimulatedResponse(200, [("content-type", "text/plain; charset=utf-8")], lines[kind].encode())


def _frames(behaviour: Behaviour) -> Iterator[bytes]:
    """Yield `events` frames of sound, or as many as make `size` bytes."""
    if behaviour.size is None:
        yield from [FRAME] * (FRAMES if behaviour.events is None else behaviour.events)
        return
    for start in range(0, behaviour.size, len(FRAME)):
        yield FRAME[: behaviour.size - start]


def _speech_events(behaviour: Behaviour, body: Json) -> Iterator[bytes]:
    for frame in _frames(behaviour):
        yield sse({"type": "speech.audio.delta", "audio": base64.b64encode(frame).decode()})
    counts = text.counts(behaviour, body)
    usage = {"input_tokens": counts.input, "output_tokens": counts.output, "total_tokens": counts.total}
    yield sse({"type": "speech.audio.done", "usage": usage})


def _transcript_events(behaviour: Behaviour, usage: Json) -> Iterator[bytes]:
    held = []
    for word in text.words(behaviour):
        held.append(word)
        yield sse({"type": "transcript.text.delta", "delta": word})
    yield sse({"type": "transcript.text.done", "text": "".join(held), "usage": usage})


def _usage(counts: text.TokenCounts) -> Json:
    return {
        "type": "tokens",
        "input_tokens": counts.input,
        "input_token_details": {"text_tokens": 0, "audio_tokens": counts.input},
        "output_tokens": counts.output,
        "total_tokens": counts.total,
    }


def _verbose(heard: str, usage: Json) -> Json:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.0,
        "text": heard,
        "tokens": [1],
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }
    facts = {"task": "transcribe", "language": "english", "duration": 1.0}
    return {**facts, "text": heard, "segments": [segment], "usage": usage}
