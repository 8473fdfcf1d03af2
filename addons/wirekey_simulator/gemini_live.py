"""Gemini's Live API: https://ai.google.dev/api/live. All of its messages are in binary frames, as those of Google."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wirekey_simulator import text
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.gemini_rules import NAME
from wirekey_simulator.members import child, objects
from wirekey_simulator.websocket import opening

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.exchange import Json, SimulatedRequest, SimulatedResponse
    from wirekey_simulator.state import State
    from wirekey_simulator.websocket import SimulatedWebSocket

PATH = re.compile(
    r"//?ws/google\.ai\.generativelanguage\.v1(?:alpha|beta)?\.GenerativeService\.(BidiGenerateContent(?:Constrained)?)"
)
SNAKE = re.compile(r"_([a-z])")
OPAQUE = ("args", "response", "properties")
"""Members whose own members have names of the program."""
MODEL = re.compile(r"models/[a-z0-9][a-z0-9.-]*")
VERTEX_PATH = re.compile(r"//?ws/google\.cloud\.aiplatform\.v1(?:beta1)?\.LlmBidiService/BidiGenerateContent")
VERTEX_MODEL = re.compile(
    r"projects/[a-z][a-z0-9-]+/locations/([a-z0-9-]+)/publishers/google/models/[a-z0-9][a-z0-9.-]*"
)
SETUP = frozenset(
    """model generationConfig systemInstruction tools realtimeInputConfig sessionResumption contextWindowCompression
    inputAudioTranscription outputAudioTranscription proactivity safetySettings historyConfig""".split()  # noqa: SIM905
)
INPUTS = frozenset("audio audioStreamEnd activityStart activityEnd text video mediaChunks".split())  # noqa: SIM905
CONTENT = frozenset({"turns", "turnComplete"})
AUDIO_SHARE = 2
"""One token in `AUDIO_SHARE` is audio."""


def connect(
    request: SimulatedRequest, behaviour: Behaviour, state: State, *, at_vertex: str | None = None
) -> SimulatedResponse:
    """Return the response that opens a session. `at_vertex`: the host's location, if known. Raises BadRequest."""
    return opening(request, LiveConversation(behaviour, state, at_vertex), ())


class LiveConversation:
    """One session: its setup, and the turns of its conversation."""

    def __init__(self, behaviour: Behaviour, state: State, at_vertex: str | None = None) -> None:
        self.behaviour, self.state = behaviour, state
        self.at_vertex = at_vertex
        self.setup: Json | None = None
        self.turns: list[Json] = []
        self.waiting: list[str] = []
        """The ids of the tool calls that wait for a response."""

    def say(self, socket: SimulatedWebSocket, **members: Any) -> None:
        """Send a message."""
        socket.say(members, binary=True)

    def opened(self, socket: SimulatedWebSocket) -> None:
        """Send nothing: the first message is the client's."""

    def received(self, socket: SimulatedWebSocket, event: Json) -> None:
        """Respond to a message. Raises BadRequest."""
        if len(event) != 1:
            raise BadRequest("Request contains an invalid argument: a message must have exactly one member.")
        ((written, value),) = event.items()
        kind = camel(written)
        if not isinstance(value, dict):
            raise BadRequest(f"Invalid value at '{kind}'.")
        value = in_camel_case(value)
        if (kind == "setup") is (self.setup is not None):
            raise BadRequest("setup must be the first message and only the first.")
        match kind:
            case "setup":
                self.check_setup(value)
                self.setup = value
                self.say(socket, setupComplete={})
            case "clientContent":
                check_members(value, CONTENT, kind)
                self.turns += objects(value.get("turns"))
                if value.get("turnComplete"):
                    self.respond(socket)
            case "realtimeInput":
                check_members(value, INPUTS, kind)
                self.hear(socket, value)
            case "toolResponse":
                self.take_results(socket, value)
            case _:
                raise BadRequest(f'Invalid JSON payload received. Unknown name "{kind}": Cannot find field.')

    def check_setup(self, setup: Json) -> None:
        """Raise BadRequest unless the server would accept these settings."""
        check_members(setup, SETUP, "setup")
        self.check_model(str(setup.get("model")))
        for tool in objects(setup.get("tools")):
            for function in objects(tool.get("functionDeclarations")):
                if not NAME.fullmatch(str(function.get("name", ""))):
                    raise BadRequest("setup.tools.function_declarations.name: Invalid function name.")

    def check_model(self, model: str) -> None:
        """Raise BadRequest unless a model is named as this server wants it."""
        if self.at_vertex is None:
            if not MODEL.fullmatch(model):
                raise BadRequest("setup.model must be of the form models/{model}.")
            return
        named = VERTEX_MODEL.fullmatch(model)
        if named is None or self.at_vertex not in ("", named[1]):
            raise BadRequest("Request contains an invalid argument: setup.model.")

    def hear(self, socket: SimulatedWebSocket, given: Json) -> None:
        """Receive realtime input. The model responds unasked to a text, and at the end of speech."""
        said = given.get("text")
        audio = child(given, "audio")
        if audio is not None and not (isinstance(audio, dict) and audio.get("data") and audio.get("mimeType")):
            raise BadRequest("realtime_input.audio: data and mime_type are required.")
        if said or "audioStreamEnd" in given or "activityEnd" in given:
            self.turns.append({"role": "user", "parts": [{"text": said or "(speech)"}]})
            if child(self.setup, "inputAudioTranscription") is not None and not said:
                self.say(socket, serverContent={"inputTranscription": {"text": "Hello."}})
            self.respond(socket)

    def take_results(self, socket: SimulatedWebSocket, given: Json) -> None:
        """Receive the results of tool calls, and continue the turn."""
        results = objects(given.get("functionResponses"))
        if sorted(str(each.get("id")) for each in results) != sorted(self.waiting) or not results:
            raise BadRequest("tool_response: the ids do not match the function calls.")
        self.waiting = []
        self.turns.append({"role": "user", "parts": [{"functionResponse": each} for each in results]})
        self.speak(socket)

    def respond(self, socket: SimulatedWebSocket) -> None:
        """Respond with a tool call if the last message asks for one, and otherwise with words."""
        declared = [
            function
            for tool in objects(child(self.setup, "tools"))
            for function in objects(tool.get("functionDeclarations"))
        ]
        if declared and text.wants_tool_call({"contents": self.turns}):
            call = {"id": self.state.new_id("call_", 12), "name": declared[0]["name"]}
            call["args"] = text.tool_arguments(declared[0].get("parameters") or {})
            self.waiting = [call["id"]]
            self.turns.append({"role": "model", "parts": [{"functionCall": call}]})
            self.say(socket, toolCall={"functionCalls": [call]}, usageMetadata=self.counts())
            return
        self.speak(socket)

    def speak(self, socket: SimulatedWebSocket) -> None:
        """Send a turn with the words of the simulator."""
        limit = child(self.setup, "generationConfig", "maxOutputTokens")
        behaviour, _ = text.limited(self.behaviour, limit)
        said = ""
        for piece in text.words(behaviour):
            said += piece
            part = {"parts": [{"text": piece}]}
            self.say(socket, serverContent={"modelTurn": part})
        self.say(socket, serverContent={"generationComplete": True})
        self.turns.append({"role": "model", "parts": [{"text": said}]})
        self.say(socket, serverContent={"turnComplete": True}, usageMetadata=self.counts())
        if self.behaviour.no_done:
            socket.close(1005)

    def counts(self) -> Json:
        """Return the counts of a turn by modality."""
        found = text.counts(self.behaviour, {"contents": self.turns, "setup": self.setup})
        heard, audio_output = found.input // AUDIO_SHARE, found.output // AUDIO_SHARE
        return {
            "promptTokenCount": found.input,
            "responseTokenCount": found.output,
            "totalTokenCount": found.total,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": found.input - heard},
                {"modality": "AUDIO", "tokenCount": heard},
            ],
            "responseTokensDetails": [
                {"modality": "TEXT", "tokenCount": found.output - audio_output},
                {"modality": "AUDIO", "tokenCount": audio_output},
            ],
        }

    def refused(self, error: BadRequest, event: Any) -> None:
        """Return None: the connection is closed with the reason."""


def camel(name: str) -> str:
    """Return a name in camel case."""
    return SNAKE.sub(lambda found: found[1].upper(), name)


def in_camel_case(value: Any) -> Any:
    """Return a value with the names of its members in camel case. Raises BadRequest if one has two spellings."""
    if isinstance(value, list):
        return [in_camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {camel(name): item if name in OPAQUE else in_camel_case(item) for name, item in value.items()}
    if len(found) < len(value):
        raise BadRequest("Invalid JSON payload received. A field is set twice.")
    return found


def check_members(value: Json, known: frozenset[str], place: str) -> None:
    """Raise BadRequest for a member that is not known."""
    for name in value:
        if name not in known:
            raise BadRequest(f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field.")
