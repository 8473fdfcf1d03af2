"""The direct path against mitmproxy's own layers: the same bytes, cut anywhere, have the same result on both sides.

Both sides of a proxy are driven without sockets: bytes in, bytes out. One proxy has mitmproxy's layers as they come.
The other has the wire layer with its direct path. A body may leave in other chunks than it came in, so it is compared
as it is read. Everything else is compared byte by byte.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import pytest
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import connection
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, _http1, _http2

from tests.wire.bare_proxy import KEY, BareDelegate
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.http2 import WireH2Connection
from wirekey.core.wire.http2_goaway import WireHttp2Client
from wirekey.core.wire.layer import forked
from wirekey.core.wire.speed.body_reading import read_chunks
from wirekey.core.wire.speed.direct_layer import DirectHttpLayer
from wirekey.core.wire.speed.direct_path import DirectPath
from wirekey.core.wire.speed.http1 import FastHttp1Client

STOCK = (http_layers.Http1Client, http_layers.Http2Client, _http2.BufferedH2Connection)


@dataclass
class Proxy:
    """One client connection of a proxy whose upstream connections are opened at once. Runs the layers' commands."""

    is_direct: bool
    alpn: bytes = b"http/1.1"
    sent: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))
    """What the proxy has sent, to "client" and to "server"."""
    hooks: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        options = Options()
        options.add_option("connection_strategy", str, "lazy", "")
        options.add_option("keep_host_header", bool, True, "")
        options.add_option("validate_inbound_headers", bool, True, "")
        options.add_option("stream_large_bodies", str | None, None, "")
        options.add_option("body_size_limit", str | None, None, "")
        options.add_option("store_streamed_bodies", bool, False, "")
        options.add_option("normalize_outbound_headers", bool, True, "")
        options.add_option("http2_ping_keepalive", int, 0, "")
        options.add_option("websocket", bool, True, "")
        options.add_option("rawtcp", bool, False, "")
        options.add_option("proxy_debug", bool, False, "")
        now = time.time()
        self.client = connection.Client(
            peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=now, alpn=self.alpn
        )
        self.client.state = connection.ConnectionState.OPEN
        self.server: connection.Server | None = None
        self.pending_writes: dict[connection.Connection, list[bytes]] = {}
        self.queue: list[events.Event] = []
        self.http = HttpLayer(context.Context(self.client, options), HTTPMode.regular)
        if self.is_direct:
            DirectHttpLayer.adopt(self.http, BareDelegate(WireLimits()))
        self.take(events.Start())
        if self.is_direct:
            assert isinstance(self.http, DirectHttpLayer)
            self.path = self.http.path = DirectPath(self, self.http, None)  # type: ignore[arg-type]  # stands in for the handler

    def name_of(self, peer: connection.Connection) -> str:
        return "client" if peer is self.client else "server"

    def receive(self, name: str, data: bytes) -> None:
        peer = self.client if name == "client" else self.server
        assert peer is not None
        if name not in self.closed:
            self.take(events.DataReceived(peer, data))

    def close(self, name: str) -> None:
        peer = self.client if name == "client" else self.server
        assert peer is not None
        if name not in self.closed:
            peer.state &= ~connection.ConnectionState.CAN_READ
            self.take(events.ConnectionClosed(peer))

    def take(self, event: events.Event) -> None:
        """Handle an event and all that follow."""
        self.queue.append(event)
        while self.queue:
            following = self.queue.pop(0)
            if self.is_direct and getattr(self, "path", None) and self.path.takes(following):
                self.path.handle(following)
            else:
                for command in self.http.handle_event(following):
                    self.execute(command)
        for peer, pieces in self.pending_writes.items():
            self.sent[self.name_of(peer)] += b"".join(pieces)
        self.pending_writes = {}

    def execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            self.pending_writes.setdefault(command.connection, []).append(command.data)
        elif isinstance(command, commands.OpenConnection):
            assert isinstance(command.connection, connection.Server)
            self.server = command.connection
            self.server.state = connection.ConnectionState.OPEN
            self.queue.append(events.OpenConnectionCompleted(command, None))
        elif isinstance(command, commands.StartHook):
            self.run_hook(command)
            self.queue.append(events.HookCompleted(command))
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = connection.ConnectionState.CLOSED
            self.closed.add(self.name_of(command.connection))

    def run_hook(self, hook: commands.StartHook) -> bool:
        self.hooks.append(hook.name)
        if hook.name == "responseheaders":
            hook.flow.response.stream = True  # type: ignore[attr-defined]
        return True


def ours(monkeypatch_classes: bool) -> None:
    """Use the wire layer's protocol classes, or mitmproxy's own."""
    wanted = (FastHttp1Client, WireHttp2Client, WireH2Connection) if monkeypatch_classes else STOCK
    http_layers.Http1Client, http_layers.Http2Client, _http2.BufferedH2Connection = wanted  # type: ignore[misc]


@pytest.fixture(autouse=True)
def classes():
    before = (http_layers.Http1Client, http_layers.Http2Client, _http2.BufferedH2Connection, _http1.ChunkedReader)
    yield
    (http_layers.Http1Client, http_layers.Http2Client, _http2.BufferedH2Connection, _http1.ChunkedReader) = before


def without_key(sent: bytes) -> bytes:
    """Return what went to the upstream without the credential, which only the wire layer adds."""
    return sent.replace(b"authorization: Bearer %s\r\n" % KEY.encode(), b"")


def body_of(sent: bytes) -> tuple[list[bytes], bytes, bytes]:
    """Return the heads of the responses that were sent, their bodies as they are read, and what is left unread."""
    heads, bodies = [], b""
    while b"\r\n\r\n" in sent:
        head, _, sent = sent.partition(b"\r\n\r\n")
        heads.append(head)
        if b"chunked" not in head:
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or len(sent))
            bodies, sent = bodies + sent[:length], sent[length:]
            continue
        while sent and not sent.startswith(b"0\r\n\r\n"):
            size, _, sent = sent.partition(b"\r\n")
            bodies, sent = bodies + sent[: int(size, 16)], sent[int(size, 16) + 2 :]
        sent = sent.removeprefix(b"0\r\n\r\n")
    return heads, bodies, sent


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data in parts that are cut at these places."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


def chunked(body: bytes, sizes: list[int]) -> bytes:
    """Return a body in chunks of these sizes."""
    sent, at = b"", 0
    for size in [*sizes, len(body)]:
        if part := body[at : at + size]:
            sent += b"%X\r\n%b\r\n" % (len(part), part)
        at += size
    return sent + b"0\r\n\r\n"


BODIES = st.binary(max_size=300) | st.lists(st.sampled_from([b"data: {}\n\n", b"\r\n", b"0\r\n\r\n", b"x"])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 2000), max_size=8)
REQUEST = b"POST http://upstream.test:80/v1/x HTTP/1.1\r\nHost: upstream.test\r\nX-Any: 1\r\n"


@st.composite
def exchanges(draw) -> tuple[bytes, bytes, bool]:
    """A request, its response, and whether the end of the connection ends the response."""
    body, response = draw(BODIES), draw(BODIES)
    if draw(st.booleans()):
        request = REQUEST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        request = REQUEST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, [])
    framing = draw(st.sampled_from(["length", "chunks", "end", "broken"]))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    if framing == "length":
        return request, head + b"Content-Length: %d\r\n\r\n%b" % (len(response), response), False
    if framing == "end":
        return request, head + b"\r\n" + response, True
    sent = chunked(response, draw(st.lists(st.integers(1, 40), max_size=10)))
    if framing == "broken":
        sent = sent[: draw(st.integers(0, len(sent)))] + draw(st.sampled_from([b"", b"zz\r\n", b"\r\r\n", b"5"]))
    return request, head + b"Transfer-Encoding: chunked\r\n\r\n" + sent, framing == "broken"


def run(proxy: Proxy, parts: dict[str, list[bytes]], *, ends: bool) -> Proxy:
    for part in parts["client"]:
        proxy.receive("client", part)
    for part in parts["server"]:
        proxy.receive("server", part)
    if ends:
        proxy.close("server")
    return proxy


@given(exchanges(), CUTS, CUTS)
def test_http1_requests_and_responses_pass_as_through_the_stock_layers(exchange, client_cuts, server_cuts):
    request, response, ends = exchange
    results = []
    for is_direct in (False, True):
        ours(is_direct)
        parts = {"client": cut(request, client_cuts), "server": cut(response, server_cuts)}
        results.append(run(Proxy(is_direct), parts, ends=ends))
    stock, direct = results
    assert unchunked_request(without_key(direct.sent["server"])) == unchunked_request(stock.sent["server"])
    assert body_of(direct.sent["client"]) == body_of(stock.sent["client"])
    assert direct.hooks == stock.hooks
    assert direct.closed == stock.closed


def unchunked_request(sent: bytes) -> tuple[bytes, bytes]:
    """Return the head of a request and its body as it is read."""
    head, _, body = sent.partition(b"\r\n\r\n")
    if b"chunked" in head:
        body = body_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)[1]
    return head, body


@given(st.lists(exchanges().filter(lambda exchange: not exchange[2]), min_size=2, max_size=3), CUTS)
def test_several_requests_on_one_connection_pass_as_through_the_stock_layers(several, cuts):
    results = []
    for is_direct in (False, True):
        ours(is_direct)
        proxy = Proxy(is_direct)
        for request, response, _ in several:
            run(proxy, {"client": cut(request, cuts), "server": cut(response, cuts)}, ends=False)
        results.append(proxy)
    stock, direct = results
    assert body_of(direct.sent["client"]) == body_of(stock.sent["client"])
    assert direct.hooks == stock.hooks


class Http2Program:
    """An HTTP/2 client that makes requests and reads what it gets."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.heads: list[object] = []
        self.bodies: dict[int | None, bytes] = defaultdict(bytes)
        self.ended: set[int | None] = set()

    def request(self, body: bytes) -> bytes:
        number = self.h2.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "http", ":authority": "upstream.test", ":path": "/v1/x"}
        self.h2.send_headers(number, [*fields.items(), ("content-length", str(len(body)))])
        self.h2.send_data(number, body, end_stream=True)
        sent: bytes = self.h2.data_to_send()
        return sent

    def read(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.heads.append(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(event.stream_id)


@given(BODIES, BODIES, CUTS, CUTS)
def test_http2_requests_and_responses_pass_as_through_the_stock_layers(body, answer, client_cuts, server_cuts):
    results = []
    for is_direct in (False, True):
        ours(is_direct)
        program, proxy = Http2Program(), Proxy(is_direct, b"h2")
        request = program.request(body)
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
        run(proxy, {"client": cut(request, client_cuts), "server": cut(response, server_cuts)}, ends=False)
        program.read(proxy.sent["client"])
        results.append((program, proxy))
    (stock_program, stock), (program, direct) = results
    assert program.heads == stock_program.heads != []
    assert program.bodies == stock_program.bodies
    assert program.ended == stock_program.ended == {1}
    assert unchunked_request(without_key(direct.sent["server"])) == unchunked_request(stock.sent["server"])
    assert direct.hooks == stock.hooks


@given(
    BODIES, st.lists(st.integers(1, 40), max_size=10), CUTS, st.sampled_from([b"", b"zz\r\n", b"5;x=1\r\nhello\r\n"])
)
def test_chunks_are_read_as_h11_reads_them_and_its_reader_can_continue(body, sizes, places, malformed):
    data = chunked(body, sizes).removesuffix(b"0\r\n\r\n") + malformed
    theirs, buffer, expected = ChunkedReader(), ReceiveBuffer(), b""
    reader, found, rest = ChunkedReader(), b"", b""
    for part in cut(data, places):
        buffer += part
        try:
            while (event := theirs(buffer)) is not None:
                expected += bytes(event.data)
        except Exception as error:
            assert "chunk" in str(error)  # noqa: PT017  # as h11 words it
            break
        read, rest = read_chunks(reader, rest + part)
        found += read
    remaining = ReceiveBuffer()
    remaining += rest
    try:
        while (event := reader(remaining)) is not None:
            found += bytes(event.data)
    except Exception:
        assert malformed or buffer
    assert found[: len(expected)] == expected[: len(found)]
    if not malformed:
        assert found == expected == body
        assert vars(reader) == vars(theirs)


def test_a_forked_context_has_the_attributes_of_one_that_mitmproxy_forks():
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=time.time())
    original = context.Context(client, Options())
    original.layers.append(HttpLayer(original, HTTPMode.regular))
    copied = forked(original)
    assert vars(copied) == vars(original.fork())
    assert copied.server is original.server
    assert copied.layers is not original.layers
