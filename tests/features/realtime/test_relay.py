"""The relay of a WebSocket, without sockets: silent sides, broken frames and floods, by a clock of the test."""

import itertools
from types import SimpleNamespace

import pytest
from mitmproxy import options
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import HttpResponseHook
from mitmproxy.test import tflow
from websockets.frames import Frame
from websockets.frames import Opcode as Op

from wirekey.core.call import Outcome
from wirekey.features.realtime import relay as relaying
from wirekey.features.realtime.decisions import FORWARD, WebSocketLimits
from wirekey.features.realtime.frames import Control, WebSocketReader, close_code
from wirekey.features.realtime.relay import WebSocketRelay

IDLE = 100.0


class Session:
    """Allows all messages. `ends`: outcome and reason of the end."""

    limits = WebSocketLimits(message_bytes=100_000, messages_per_second=10, bytes_per_second=50_000)
    idle = IDLE
    secrets = ()

    def __init__(self):
        self.ends = []

    def decide(self, payload):
        return FORWARD

    def observe(self, payload):
        pass

    def due(self):
        return None

    def notice(self):
        return None

    def end(self, outcome, reason, received, sent):
        self.ends.append((outcome, reason))


class Relay:
    """A relay between two sides. What each side has got is read as frames."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(relaying, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.session = Session()
        flow = tflow.tflow()
        place = context.Context(flow.client_conn, options.Options())
        place.server = Server(address=("provider.example", 443))
        self.client, self.server = place.client, place.server
        self.layer = WebSocketRelay(place, flow, self.session, None)
        self.read = {
            self.client: WebSocketReader(from_client=False, limit=1 << 20, holds=False),
            self.server: WebSocketReader(from_client=True, limit=1 << 20, holds=False),
        }
        self.heard = {self.client: [], self.server: []}
        self.closed = []
        self.handle(events.Start())

    def handle(self, event):
        for command in self.layer.handle_event(event):
            if isinstance(command, commands.SendData):
                self.heard[command.connection] += self.read[command.connection].feed(command.data)
            elif isinstance(command, commands.CloseConnection):
                self.closed.append(command.connection)
            else:
                assert isinstance(command, HttpResponseHook)

    def receive(self, side, *frames):
        for frame in frames:
            data = frame if isinstance(frame, bytes) else frame.serialize(mask=side is self.client)
            self.handle(events.DataReceived(side, data))

    def disconnect(self, side):
        self.handle(events.ConnectionClosed(side))

    def after(self, seconds):
        """Let time pass, with ticks."""
        for _ in range(int(seconds)):
            self.now += 1
            self.handle(events.Wakeup(commands.RequestWakeup(1)))

    def controls(self, side):
        """The control frames that a side has got."""
        return [piece.content for piece in self.heard[side] if isinstance(piece.content, Control)]

    def codes(self, side):
        """The codes of the close frames that a side has got."""
        return [close_code(each.payload) for each in self.controls(side) if each.opcode == Op.CLOSE]

    def answer_pings(self, side, asked):
        """Answer the pings that a side has got after the first `asked`. Return how many it has got."""
        pings = [each for each in self.controls(side) if each.opcode == Op.PING]
        self.receive(side, *(Frame(Op.PONG, each.payload) for each in pings[asked:]))
        return len(pings)


@pytest.fixture
def relay(monkeypatch):
    return Relay(monkeypatch)


MESSAGE = Frame(Op.TEXT, b'{"type":"a"}')


@pytest.mark.parametrize(("gone", "word"), [("client", "client"), ("server", "provider")])
def test_a_side_that_no_longer_answers_is_found_while_the_other_goes_on(relay, gone, word):
    silent = getattr(relay, gone)
    active = relay.client if silent is relay.server else relay.server
    for _ in range(int(IDLE) + 1):
        relay.receive(active, MESSAGE)
        relay.after(1)
    assert [each.opcode for each in relay.controls(silent)][:1] == [Op.PING]
    assert relay.codes(relay.client) == [1001]
    relay.after(5)
    assert relay.session.ends == [(Outcome.TIMEOUT, f"1001: the {word} no longer responds: see timeouts.idle")]
    assert {relay.client, relay.server} <= set(relay.closed)


def test_a_silent_side_that_answers_pings_keeps_the_connection_and_the_other_side_hears_nothing_of_them(relay):
    asked = 0
    for _ in range(3 * int(IDLE)):
        relay.receive(relay.client, MESSAGE)
        relay.after(1)
        asked = relay.answer_pings(relay.server, asked)
    assert asked in (5, 6)
    assert relay.heard[relay.client] == []
    assert relay.closed == []


def test_pings_of_wirekey_do_not_keep_a_quiet_connection(relay):
    asked = dict.fromkeys((relay.client, relay.server), 0)
    for _ in range(int(IDLE) + 1):
        relay.after(1)
        for side, count in asked.items():
            asked[side] = relay.answer_pings(side, count)
    assert list(asked.values()) == [1, 1]
    assert relay.codes(relay.client) == [1001]


def test_pings_and_pongs_of_the_sides_pass(relay):
    relay.receive(relay.client, Frame(Op.PING, b"beat"))
    relay.receive(relay.server, Frame(Op.PONG, b"beat"), Frame(Op.PONG, b""))
    assert [each.payload for each in relay.controls(relay.server)] == [b"beat"]
    assert [each.payload for each in relay.controls(relay.client)] == [b"beat", b""]


def test_no_ping_is_sent_within_a_frame(relay):
    long = Frame(Op.BINARY, bytes(90_000)).serialize(mask=False)
    relay.receive(relay.server, long[:70_000])
    for _ in range(int(IDLE) - 10):
        relay.receive(relay.server, b"")
        relay.after(1)
    assert relay.controls(relay.client) == []
    relay.receive(relay.server, long[70_000:])
    relay.after(1)
    assert [each.opcode for each in relay.controls(relay.client)] == [Op.PING]


def test_a_close_without_a_code_passes_in_both_directions(relay):
    relay.receive(relay.server, Frame(Op.CLOSE, b""))
    relay.receive(relay.client, Frame(Op.CLOSE, b""))
    relay.disconnect(relay.server)
    assert (relay.codes(relay.client), relay.codes(relay.server)) == ([1005], [1005])
    assert relay.session.ends == [(Outcome.COMPLETED, None)]


BROKEN = {
    "a masked frame of the provider": ("server", MESSAGE.serialize(mask=True), 1002),
    "a frame of the client without a mask": ("client", MESSAGE.serialize(mask=False), 1002),
    "a reserved bit": ("server", b"\xf1\x00", 1002),
    "a continuation of nothing": ("server", Frame(Op.CONT, b"x").serialize(mask=False), 1002),
    "a message that is too large": ("server", b"\x82\x7f" + (200_000).to_bytes(8), 1009),
    "half a close code": ("client", b"\x88\x81" + bytes(4) + b"a", 1002),
}


@pytest.mark.parametrize(("side", "data", "code"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_protocol_closes_both_sides(relay, side, data, code):
    relay.receive(getattr(relay, side), data)
    assert relay.codes(relay.client) == [code]
    assert relay.codes(relay.server) == [1001]
    assert relay.server in relay.closed
    relay.after(5)
    assert relay.client in relay.closed
    ((outcome, reason),) = relay.session.ends
    assert (outcome, reason.partition(":")[0]) == (Outcome.INTERRUPTED, str(code))


@pytest.mark.parametrize(
    ("side", "outcome"), [("server", Outcome.UPSTREAM_RESET), ("client", Outcome.CLIENT_CANCELLED)]
)
@pytest.mark.parametrize("cut", [1, 5, -1])
def test_half_a_frame_ends_with_its_side_and_is_not_passed_on(relay, side, outcome, cut):
    broken = getattr(relay, side)
    other = relay.client if broken is relay.server else relay.server
    relay.receive(broken, MESSAGE.serialize(mask=side == "client")[:cut])
    relay.disconnect(broken)
    assert relay.heard[other] == []
    assert {relay.client, relay.server} <= set(relay.closed)
    assert relay.session.ends == [(outcome, None)]


def test_a_provider_that_sends_too_many_bytes_is_cut_off(relay):
    frame = Frame(Op.BINARY, bytes(10_000))
    sent = 0
    for _ in itertools.repeat(None, 1000):
        if relay.closed:
            break
        relay.receive(relay.server, frame)
        sent += 10_000
    assert sent <= 10 * Session.limits.bytes_per_second + 20_000
    assert relay.codes(relay.client) == [1008]
    assert relay.server in relay.closed


def test_many_small_messages_of_a_provider_pass(relay):
    for _ in range(1000):
        relay.receive(relay.server, MESSAGE)
    assert len(relay.heard[relay.client]) == 1000
    assert relay.closed == []
