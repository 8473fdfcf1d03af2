"""What is fuzzed: functions of bytes that raise only for a mistake in Wirekey.

Each reads its bytes as a parser gets them, and checks what must hold: only the documented exceptions, the same result
for each cut, and the same as another parser where there is one.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import jwt as pyjwt
from botocore.eventstream import EventStreamBuffer, ParserError

import wirekey_rego
from wirekey.config.problems import ConfigError
from wirekey.config.yaml_file import read_yaml
from wirekey.core.errors import Refusal
from wirekey.core.metering.eventstream import EventStreamReader
from wirekey.core.metering.json_array import JsonArrayReader
from wirekey.core.metering.sse import SseReader
from wirekey.core.model_name import ModelName, ModelNameError
from wirekey.core.proxy_protocol import ProxyHeaderError, parse_proxy_header
from wirekey.core.signing.event_frames import FrameReader
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import RequestHead, UnreadableRequestError
from wirekey.core.signing.signature_parsing import signature_of
from wirekey.features.jwt.reading import RefusedTokenError, read
from wirekey.features.realtime.frames import ProtocolError, WebSocketReader
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.request_json import read_body, read_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the bytes to read, and a cut of them: the first byte says how long the pieces are."""
    if not data:
        return b"", []
    size, data = data[0] % 17 + 1, data[1:]
    return data, [data[start : start + size] for start in range(0, len(data), size)]


class Everything:
    """Part of a reader that keeps all events."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bytes] = []

    def interested(self, data: bytes) -> bool:
        return True

    def read_event(self, data: bytes) -> None:
        self.found.append(data)


class Events(Everything, SseReader):
    pass


class Elements(Everything, JsonArrayReader):
    pass


def found_by(reader: Events | Elements, pieces: Iterable[bytes]) -> list[bytes]:
    """Return what a reader finds in the pieces."""
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    return reader.found


def sse(data: bytes) -> None:
    """Server-sent events are the same for each cut."""
    data, pieces = cut(data)
    # An event without data says nothing.
    whole, cuts = ([event for event in found_by(Events(), read) if event] for read in ([data], pieces))
    assert whole == cuts, (whole, cuts)


def json_array(data: bytes) -> None:
    """The elements of a streamed array are read for each cut."""
    data, pieces = cut(data)
    found_by(Elements(), [data])
    found_by(Elements(), pieces)


def event_stream(data: bytes) -> None:
    """Frames of AWS are the same for each cut, and the first are those of botocore."""

    class Frames(EventStreamReader):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[bytes] = []

        def read_event(self, headers: bytes, payload: bytes) -> None:
            self.found.append(payload)

    def frames(pieces: Iterable[bytes]) -> list[bytes]:
        reader = Frames()
        for piece in pieces:
            reader.feed(piece)
        reader.end()
        return reader.found

    data, pieces = cut(data)
    found = frames([data])
    assert found == frames(pieces)
    buffer, theirs = EventStreamBuffer(), []
    buffer.add_data(data)
    with contextlib.suppress(ParserError, ValueError, KeyError):
        theirs.extend(event.payload for event in buffer)
    assert found[: len(theirs)] == theirs


def signed_frames(data: bytes) -> None:
    """Signed frames are refused, or read the same for each cut."""

    def frames(pieces: Iterable[bytes]) -> list[bytes] | None:
        reader, found = FrameReader(), []
        try:
            for piece in pieces:
                found.extend(bytes(frame.payload) for frame in reader.feed(piece))
            reader.end()
        except SignatureRefused:
            return None
        return found

    data, pieces = cut(data)
    assert frames([data]) == frames(pieces)


def websocket(data: bytes) -> None:
    """Frames of a WebSocket end with a protocol error, or are read the same for each cut."""
    if not data:
        return

    def messages(pieces: Iterable[bytes], *, from_client: bool) -> tuple[list[object], int]:
        reader, found = WebSocketReader(from_client=from_client, limit=1000, holds=True), []
        try:
            for piece in pieces:
                found.extend(reader.feed(piece))
        except ProtocolError as error:
            return found, error.code
        return found, 0

    from_client = data[0] > 127
    data, pieces = cut(data)
    whole, cuts = messages([data], from_client=from_client), messages(pieces, from_client=from_client)
    assert [str(each) for each in whole[0]] == [str(each) for each in cuts[0]]
    assert whole[1] == cuts[1]


def json_request(data: bytes) -> None:
    """A request is refused, or is the object that the standard library reads, with each name once."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), "a name is repeated"
        return dict(pairs)

    body = EditableBody(data)
    try:
        body.root.set({"added-by-the-test": b"1"})
        written = bytes(body.written())
        read_messages(read_body(data), "messages")
    except Refusal:
        return
    found = json.loads(written)
    assert found.pop("added-by-the-test") == 1
    top = json.loads(data, object_pairs_hook=list)
    assert len(dict(top)) == len(top), "a name of the request is repeated"
    assert found == json.loads(data) or "added-by-the-test" in dict(top)


def sigv4(data: bytes) -> None:
    """A signature is parsed or refused."""
    target, _, rest = data.partition(b"\n")
    date, _, value = rest.partition(b"\n")
    headers = [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com"), (b"x-amz-date", date), (b"authorization", value)]
    head = RequestHead("POST", b"/" + target, headers)
    with contextlib.suppress(SignatureRefused, UnreadableRequestError):
        signature_of(head)


def json_web_token(data: bytes) -> None:
    """A token that is read has the header and the claims that PyJWT reads."""
    token = data.decode("latin-1")
    try:
        found = read(token)
    except RefusedTokenError:
        return
    theirs = pyjwt.api_jws.PyJWS().decode_complete(token, options={"verify_signature": False})
    assert theirs["header"]["alg"] == found.algorithm
    assert json.loads(theirs["payload"]) == found.claims
    assert theirs["signature"] == found.signature


def model_name(data: bytes) -> None:
    """A model name that is accepted is written as it is read again."""
    try:
        found = ModelName.parse(data.decode("utf-8", "replace"))
    except ModelNameError:
        return
    assert ModelName.parse(str(found)) == found


def policy(data: bytes) -> None:
    """A policy is compiled or refused with its places."""
    with contextlib.suppress(wirekey_rego.CompileError):
        wirekey_rego.compile({"policy.rego": data.decode("utf-8", "replace")}, "data.wirekey", ["allow"])


def proxy_protocol(data: bytes) -> None:
    """A header that is complete stays the same if more bytes follow, and fewer bytes are incomplete."""
    try:
        found = parse_proxy_header(data)
    except ProxyHeaderError:
        return
    if found:
        assert found.size <= len(data)
        assert parse_proxy_header(data + b"x") == found
        assert parse_proxy_header(data[: found.size]) == found
        assert parse_proxy_header(data[: found.size - 1]) is None


def configuration(data: bytes) -> None:
    """A YAML file is read, or its problems have places."""
    with contextlib.suppress(ConfigError):
        read_yaml(data.decode("utf-8", "replace"), Path("wirekey.yaml"))


TARGETS: Mapping[str, Callable[[bytes], None]] = MappingProxyType(
    {
        each.__name__: each
        for each in (
            sse, json_array, event_stream, signed_frames, websocket, json_request, sigv4, json_web_token, model_name,
            policy, proxy_protocol, configuration,
        )
    }
)  # fmt: skip
"""Target, by its name. The folder of this name below `corpora` has its first inputs."""
