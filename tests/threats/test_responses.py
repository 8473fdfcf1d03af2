"""THREATS 2.9, R8, R19, R22, R23: what a provider's response may carry to the client.

The provider is a hostile one. What the client gets is seen over HTTP/1.1 and HTTP/2, and with it what the audit and the
log hold.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import dataclass

import botocore.eventstream
import brotli
import httpx
import pytest
import zstandard

from tests.support.aws_signing import PATH, REAL, ask, signed, written
from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind
from tests.support.stream_formats import trust
from tests.threats.conftest import beginning
from tests.threats.hostile import Asked, Hostile, Says
from wirekey.core.metering.eventstream import write_frame

KEY = PROVIDER_KEYS["openai"].encode()
MASK = b"*" * len(KEY)
CHAT_URL = "https://api.openai.com/v1/chat/completions"
SSE = [("content-type", "text/event-stream")]
JSON = [("content-type", "application/json")]
SESSION = "IQoJb3JpZ2luX2VjEXAMPLE+/token/of/the/session" * 4


@dataclass
class Stage:
    upstream: Hostile
    proxy: Wirekey
    alice: str
    clients: dict[bool, httpx.Client]
    began: str = ""

    def ask(self, *, http2: bool = False, url: str = CHAT_URL, body: bytes = CHAT, **more) -> httpx.Response:
        more.setdefault("headers", {"accept-encoding": "identity"})
        answer = self.clients[http2].post(url, content=body, **more)
        assert self.upstream.protocols == ["h2" if http2 else "http/1.1"], answer.text
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return answer

    def raw(self, request: bytes, host: str = "api.openai.com"):
        with RawClient(self.proxy.running.forward) as client:
            assert client.connect(f"{host}:443", "alice", self.alice).status == 200
            client.start_tls(self.proxy.root, host)
            client.send(request)
            return client.read_response()

    def gateway(self, path: str = "/v1/chat/completions", body: bytes = CHAT, **more) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.alice}", "content-type": "application/json"}
        with httpx.Client(trust_env=False, timeout=60) as client:
            url = f"http://{self.proxy.running.gateway}{path}"
            return client.request(more.pop("method", "POST"), url, content=body, headers=headers, **more)

    def event(self) -> dict:
        return self.proxy.finished_event(self.began)

    def nothing_recorded(self, *secrets: bytes) -> None:
        """Assert that neither audit nor log nor any other file of the state holds the key."""
        self.event()
        for file in [self.proxy.output, *self.proxy.state.rglob("*")]:
            if file.is_file():
                data = file.read_bytes()
                assert not [secret for secret in (KEY, *secrets) if secret in data], file


@pytest.fixture(scope="module")
def running_stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with Hostile(folder) as upstream:
        configuration = behind(Named(upstream.url, folder / "simulator-ca.pem"))
        configuration["upstream_ca_file"] = str(next(folder.glob("*ca*.pem")))
        names = ("access_key", "secret_key", "session_token")
        configuration["providers"]["bedrock"]["aws"] = {name: f"env:{name.upper()}" for name in names}
        configuration["listen"] = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
        environ = {**KEY_ENVIRONMENT, "ACCESS_KEY": REAL[0], "SECRET_KEY": REAL[1], "SESSION_TOKEN": SESSION}
        proxy = Wirekey(folder / "wirekey", configuration, environ=environ)
        alice = proxy.add_agent("alice", role="engineer")
        proxy.pair = proxy.agents.pair("alice")
        url = proxy.proxy_url("alice", alice)
        clients = {
            http2: httpx.Client(
                proxy=url,
                verify=trust(proxy.root, http2),
                timeout=60,
                http1=not http2,
                http2=http2,
                trust_env=False,
            )
            for http2 in (False, True)
        }
        yield Stage(upstream, proxy, alice, clients)
        proxy.stop()


@dataclass
class Named:
    """What `behind` asks of a simulator."""

    url: str
    ca_file: object


@pytest.fixture
def stage(running_stage) -> Stage:
    running_stage.began = beginning()
    return running_stage


BOTH = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


@BOTH
@pytest.mark.parametrize("status", [200, 201, 301, 404, 529])
def test_R8_the_key_is_masked_in_head_and_body_of_every_status(stage, http2, status):
    body = b'{"echo":"Bearer %b"}' % KEY
    fields = [("content-type", "application/json"), ("x-echo", f"<{KEY.decode()}>"), (f"x-{KEY.decode()}-y", "1")]
    stage.upstream.says(Says(status, fields, [body], length=True))
    answer = stage.ask(http2=http2)
    assert answer.status_code == status
    assert answer.content == body.replace(KEY, MASK)
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["x-echo"] == f"<{MASK.decode()}>"
    assert KEY.lower() not in b"\n".join(name.lower() + value for name, value in answer.headers.raw)
    stage.nothing_recorded()


@BOTH
@pytest.mark.parametrize("headers", [SSE, JSON], ids=["stream", "plain"])
def test_R8_the_key_is_masked_at_every_split_point(stage, http2, headers):
    before, after = b'data: {"error":{"message":"bad key ', b'","type":"x"}}\n\ndata: [DONE]\n\n'
    whole = before + KEY + after
    for cut in range(len(before) - 1, len(before) + len(KEY) + 2):
        stage.began = beginning()
        stage.upstream.says(Says(200, headers, [whole[:cut], whole[cut:]]))
        assert stage.ask(http2=http2).content == before + MASK + after
    stage.nothing_recorded()


@BOTH
def test_R8_the_key_is_masked_byte_by_byte_and_twice(stage, http2):
    whole = b"data: " + KEY[:5] + KEY + KEY + b"\n\n" + KEY[:-1] + b"\n\n" + KEY[:7]
    stage.upstream.says(Says(200, SSE, [bytes([byte]) for byte in whole]))
    assert stage.ask(http2=http2).content == whole.replace(KEY, MASK)
    stage.nothing_recorded()


def test_R8_the_reason_phrase_is_the_standard_one(stage):
    for status, standard in [(200, "OK"), (418, "I'm a Teapot"), (299, ""), (429, "Too Many Requests")]:
        stage.upstream.says(Says(status, reason=f"your key is {KEY.decode()}", length=True))
        assert stage.raw(post()).reason == standard
    assert KEY not in stage.proxy.output.read_bytes()


@BOTH
def test_R8_what_is_recorded_of_a_response_is_masked(stage, http2):
    name = KEY.decode()
    body = {"model": name, "choices": [{"finish_reason": name, "index": 0, "message": {}}], "usage": {}}
    stage.upstream.says(Says(pieces=[json.dumps(body).encode()], length=True))
    stage.ask(http2=http2)
    assert stage.event()["finish_reason"] in (MASK.decode(), None)
    stage.nothing_recorded()


ENCODINGS = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "br": (brotli.compress, brotli.decompress),
    "zstd": (zstandard.compress, zstandard.decompress),
}


@BOTH
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [1, 10**6])
def test_R8_a_compressed_response_that_quotes_the_key_ends_or_is_masked(stage, http2, encoding, size):
    body = b'{"choices":[{"text":"' + b"All is well. " * 20 + b'"}],"echo":"%b"}' % KEY
    packed = ENCODINGS[encoding][0](body)
    stage.upstream.says(
        Says(
            headers=[*JSON, ("content-encoding", encoding)],
            pieces=[packed[n : n + size] for n in range(0, len(packed), size)],
        )
    )
    received = b""
    try:
        with stage.clients[http2].stream("POST", CHAT_URL, content=CHAT) as answer:
            for part in answer.iter_raw():
                received += part
            ended = False
    except httpx.HTTPError:
        ended = True
    assert KEY not in received
    if encoding == "zstd":
        assert not ended
        assert received == body.replace(KEY, MASK)
    else:
        assert ended
        assert KEY[:-1] not in opened(encoding, received), "all of it but its end would do"
        event = stage.event()
        assert (event["outcome"], event["policy_reason"]) == ("upstream_error", "key_quoted")
    stage.nothing_recorded()


def opened(encoding: str, data: bytes) -> bytes:
    """Return what a client can read of the beginning of a compressed body."""
    if encoding == "br":
        return brotli.Decompressor().process(data)
    return zlib.decompressobj(31 if encoding == "gzip" else 15).decompress(data)


@BOTH
@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_R8_a_compressed_response_without_the_key_passes_as_it_is(stage, http2, encoding):
    body = b'{"choices":[{"text":"%b"}]}' % KEY[:-1]
    packed = ENCODINGS[encoding][0](body)
    stage.upstream.says(Says(headers=[*JSON, ("content-encoding", encoding)], pieces=[packed[:9], packed[9:]]))
    answer = stage.ask(http2=http2)
    assert answer.headers["content-encoding"] == encoding
    assert answer.content == body


def test_R8_the_key_after_the_end_of_compressed_data_does_not_pass(stage):
    packed = gzip.compress(b"{}") + b"\0" + KEY
    stage.upstream.says(Says(headers=[*JSON, ("content-encoding", "gzip")], pieces=[packed], length=True))
    with pytest.raises(AssertionError, match="ended within the response"):
        stage.raw(post())


@BOTH
def test_R8_an_encoding_that_cannot_be_undone_is_refused(stage, http2):
    stage.upstream.says(Says(headers=[*JSON, ("content-encoding", "compress")], pieces=[b"?" + KEY], length=True))
    answer = stage.ask(http2=http2)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreadable")
    event = stage.event()
    assert (event["status"], event["outcome"], event["policy_reason"]) == (502, "upstream_error", "upstream_unreadable")


# Bedrock: what an AWS credential consists of, and frames with checksums.


def quotes(asked: Asked) -> tuple[bytes, ...]:
    signature = asked.header("authorization").rpartition("Signature=")[2]
    assert len(signature) == 64
    assert asked.header("x-amz-security-token") == SESSION
    return SESSION.encode(), REAL[1].encode(), signature.encode()


def stream_request(stage: Stage) -> bytes:
    return written(signed(stage.proxy, PATH.replace("converse", "converse-stream")))


@pytest.mark.parametrize("status", [200, 403])
def test_R8_no_part_of_an_aws_credential_comes_back(stage, status):
    said: list[tuple[bytes, ...]] = []

    def script(asked: Asked) -> Says:
        said.append(quotes(asked))
        body = json.dumps({"message": [part.decode() for part in said[0]]}).encode()
        fields = [*JSON, ("x-canonical", "|".join(part.decode() for part in said[0]))]
        return Says(status, fields, [body[n : n + 7] for n in range(0, len(body), 7)])

    stage.upstream.says(script)
    answer = ask(stage.proxy, written(signed(stage.proxy)))
    assert answer.status == status
    everything = answer.body + str(answer.headers).encode()
    assert not [part for part in said[0] if part in everything]
    assert json.loads(answer.body)["message"] == ["*" * len(part) for part in said[0]]
    stage.nothing_recorded(*said[0])


def test_R8_a_masked_event_stream_frame_has_a_correct_checksum_at_every_cut(stage):
    def frames(token: bytes) -> bytes:
        headers = {":message-type": "event", ":event-type": "contentBlockDelta", ":content-type": "application/json"}
        said = [b'{"delta":{"text":"one"}}', b'{"delta":{"text":"%b and more"}}' % token, b'{"delta":{"text":"x"}}']
        return b"".join(write_frame(headers, payload) for payload in said)

    whole, wanted = frames(SESSION.encode()), frames(b"*" * len(SESSION))
    at = whole.index(SESSION.encode())
    stops = [1, 11, 12, 13, at - 1, at + 1, at + 90, at + len(SESSION) - 1, at + len(SESSION) + 12, len(whole) - 90]
    for cut in [*stops, *range(at + len(SESSION) + 14, at + len(SESSION) + 24)]:
        stage.upstream.says(
            Says(200, [("content-type", "application/vnd.amazon.eventstream")], [whole[:cut], whole[cut:]])
        )
        answer = ask(stage.proxy, stream_request(stage))
        assert answer.body == wanted
        buffer = botocore.eventstream.EventStreamBuffer()
        buffer.add_data(answer.body)
        assert len(list(buffer)) == 3, "it checks the checksums"


# R22


SPELLINGS = {
    "JSON escapes of some characters": KEY.replace(b"-", rb"\u002d").replace(b"e", rb"\u0065"),
    "JSON escapes of all, in capitals": b"".join(b"\\u00%02X" % byte for byte in KEY),
    "JSON within JSON": json.dumps("".join(f"\\u00{byte:02x}" for byte in KEY)).encode()[1:-1],
    "percent": b"".join(b"%%%02x" % byte for byte in KEY),
    "percent, twice": KEY.replace(b"-", b"%252D"),
    "hex": KEY.hex().encode(),
    "hex, in capitals": KEY.hex().upper().encode(),
    "hex, each digit escaped": b"".join(b"%%%02x" % digit for digit in KEY.hex().encode()),
    "percent and JSON": KEY.replace(b"-", rb"\u00252d"),
}


@BOTH
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_R22_escaped_spellings_of_the_key_are_masked_in_errors(stage, http2, spelling, size):
    quoted = SPELLINGS[spelling]
    body = b'{"error":{"message":"Incorrect key: %b.","param":"100%% \\u00e4"}}' % quoted
    stage.upstream.says(Says(401, JSON, [body[n : n + size] for n in range(0, len(body), size)]))
    answer = stage.ask(http2=http2)
    assert answer.content == body.replace(quoted, b"*" * len(quoted))
    assert answer.json()["error"]["param"] == "100% ä"
    stage.nothing_recorded()


@BOTH
@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize("text", [b"Bearer %b", b"%b", b"x%b", b"xx%b", b"api:%b:"])
def test_R22_base64_of_the_key_is_masked_in_errors(stage, http2, text, size):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        stage.began = beginning()
        quoted = encode(text % KEY)
        body = b'{"error":{"message":"Bad Authorization: %b"}}' % quoted
        fields = [*JSON, ("x-quoted", quoted.decode())]
        stage.upstream.says(Says(401, fields, [body[n : n + size] for n in range(0, len(body), size)]))
        answer = stage.ask(http2=http2)
        assert len(answer.content) == len(body)
        for said in (answer.json()["error"]["message"].split()[-1], answer.headers["x-quoted"]):
            left = base64.urlsafe_b64decode(said.replace("*", "A").replace("+", "-").replace("/", "_"))
            assert KEY[2:-2] not in left
            assert said.count("*") >= len(quoted) - 16
    stage.nothing_recorded()


@BOTH
def test_R22_a_header_that_spells_the_key_in_hex_is_masked(stage, http2):
    for quoted in (KEY.hex(), KEY.hex().upper()):
        stage.upstream.says(Says(400, [*JSON, ("x-quoted", f"key {quoted}.")]))
        assert stage.ask(http2=http2).headers["x-quoted"] == f"key {'*' * len(quoted)}."


def test_R22_a_redirect_that_spells_the_key_is_masked(stage):
    spelled = "".join(f"%{byte:02x}" for byte in KEY)
    stage.upstream.says(Says(307, [("location", f"/v1/next?key={spelled}")], [b""], length=True))
    assert stage.raw(post()).headers["location"] == f"/v1/next?key={'*' * len(spelled)}"


# R19


FOREIGN = [
    "https://evil.example/v1/chat/completions",
    "http://api.openai.com/v1/x",
    "https://api.openai.com:8443/v1/x",
    "https://api.openai.com@evil.example/",
    "https://evil.example\\@api.openai.com/",
    "https://api.openai.com.evil.example/",
    "//evil.example/v1/x",
    "/\\evil.example/v1/x",
    "\\\\evil.example/",
    "https:/evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "https://api.anthropic.com/v1/messages",
    "https://[::1]/",
    "https://api.openai.com /x",
]


@BOTH
@pytest.mark.parametrize("location", FOREIGN)
def test_R19_a_redirect_to_a_foreign_host_is_refused(stage, http2, location):
    stage.upstream.says(Says(307, [("location", location), *JSON], [b'{"to":"%b"}' % KEY], length=True))
    answer = stage.ask(http2=http2)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "redirect_refused")
    assert "location" not in answer.headers
    assert "evil" not in answer.text + str(answer.headers)
    event = stage.event()
    assert (event["status"], event["outcome"], event["policy_reason"]) == (502, "upstream_error", "redirect_refused")


def test_R19_an_anthropic_client_gets_its_own_error(stage):
    stage.upstream.says(Says(302, [("location", "https://evil.example/")], [b""], length=True))
    body = b'{"model":"claude-3-5-haiku-latest","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
    answer = stage.ask(url="https://api.anthropic.com/v1/messages", body=body)
    assert answer.status_code == 502
    assert answer.json()["type"] == "error"


def test_R19_two_locations_are_refused(stage):
    stage.upstream.says(Says(302, [("location", "/v1/x"), ("location", "https://evil.example/")], [b""], length=True))
    assert stage.raw(post()).status == 502


def test_R19_an_upload_that_continues_on_another_host_is_refused(stage):
    stage.upstream.says(
        Says(200, [("x-goog-upload-url", "https://evil.example/upload/v1beta/files?upload_id=x")], [b""], length=True)
    )
    answer = stage.ask(url="https://generativelanguage.googleapis.com/upload/v1beta/files", body=b"{}")
    assert answer.status_code == 502


OWN = ["/v1/next?x=1", "next", "?page=2", "", "https://api.openai.com/v1/next", "https://api.openai.com:443/v1/next"]


@BOTH
@pytest.mark.parametrize("location", OWN)
def test_R19_a_redirect_within_the_provider_passes(stage, http2, location):
    stage.upstream.says(Says(308, [("location", location)], [b""], length=True))
    answer = stage.ask(http2=http2)
    assert (answer.status_code, answer.headers["location"]) == (308, location)


def test_R19_a_redirect_to_the_upstream_itself_leads_back_to_wirekey(stage):
    stage.upstream.says(Says(308, [("location", f"{stage.upstream.url}/v1/next?x=1")], [b""], length=True))
    assert stage.ask().headers["location"] == "https://api.openai.com/v1/next?x=1"


@pytest.mark.parametrize("location", ["https://api.openai.com/v1/next?x=1", "/v1/next?x=1", "UPSTREAM/v1/next?x=1"])
def test_R19_at_the_gateway_a_redirect_leads_back_to_the_gateway(stage, location):
    stage.upstream.says(Says(308, [("location", location.replace("UPSTREAM", stage.upstream.url))], [b""], length=True))
    answer = stage.gateway()
    path = "/api/v1/openai/v1/next?x=1"
    assert answer.headers["location"] in (path, f"http://{stage.proxy.running.gateway}{path}")


def test_R19_at_the_gateway_a_foreign_redirect_is_refused(stage):
    stage.upstream.says(Says(308, [("location", "https://api.anthropic.com/v1/x")], [b""], length=True))
    assert stage.gateway().status_code == 502


# R23


UNWANTED = [
    ("Alt-Svc", 'h3="evil.example:443"; ma=86400'),
    ("alt-svc", 'h2=":8443"'),
    ("Set-Cookie", "__cf_bm=shared-by-all-agents; path=/"),
    ("Refresh", "0; url=https://evil.example/"),
    ("Proxy-Authenticate", "Basic realm=x"),
    ("Proxy-Authentication-Info", "x"),
]
AT_GATEWAY = [("Strict-Transport-Security", "max-age=9"), ("Clear-Site-Data", '"cookies"'), ("NEL", "{}")]


@BOTH
@pytest.mark.parametrize("status", [200, 400])
def test_R23_alt_svc_and_other_headers_about_other_hosts_are_dropped(stage, http2, status):
    trailers = [("alt-svc", 'h3="evil.example:443"'), ("x-trailer", KEY.decode())]
    stage.upstream.says(Says(status, [*JSON, *UNWANTED, ("x-kept", "yes")], trailers=trailers))
    answer = stage.ask(http2=http2)
    assert answer.headers["x-kept"] == "yes"
    assert not [name for name, _ in UNWANTED if name in answer.headers]
    assert "x-trailer" not in answer.headers
    assert answer.content == b"{}"


def test_R23_no_trailer_reaches_the_client(stage):
    stage.upstream.says(Says(trailers=[("alt-svc", 'h3="evil.example:443"')]))
    with RawClient(stage.proxy.running.forward) as client:
        client.connect("api.openai.com:443", "alice", stage.alice)
        client.start_tls(stage.proxy.root, "api.openai.com")
        client.send(post())
        assert client.read_response().body == b"{}"
        assert client.received == b""


def test_R23_headers_that_would_apply_to_the_gateway_are_dropped_there(stage):
    stage.upstream.says(Says(200, [*JSON, *UNWANTED, *AT_GATEWAY, ("x-kept", "yes")], length=True))
    answer = stage.gateway()
    assert answer.headers["x-kept"] == "yes"
    assert not [name for name, _ in UNWANTED + AT_GATEWAY if name in answer.headers]


def test_R23_headers_that_connection_names_are_dropped_but_for_the_framing(stage):
    named = "keep-alive, x-hop, content-length, content-type, transfer-encoding"
    stage.upstream.says(
        Says(200, [*JSON, ("connection", named), ("x-hop", "1"), ("keep-alive", "timeout=9")], length=True)
    )
    answer = stage.raw(post())
    assert not {"x-hop", "keep-alive"} & set(answer.headers)
    assert (answer.headers["content-type"], answer.headers["content-length"]) == ("application/json", "2")
    assert answer.body == b"{}"


# R49


@BOTH
@pytest.mark.parametrize("status", [200, 400])
def test_R49_a_provider_does_not_speak_for_wirekey(stage, http2, status):
    forged = ["request-id", "simulated", "model", "translation", "dropped", "adjusted", "anything"]
    headers = [(f"x-wirekey-{name}", "forged") for name in forged] + [("X-WireKey-Losses", "forged")]
    stage.upstream.says(Says(status, [*JSON, *headers, ("x-kept", "yes")]))
    answer = stage.ask(http2=http2)
    assert answer.headers["x-kept"] == "yes"
    assert "forged" not in str(answer.headers)


CONTROLS = {"cr": "\r", "nul": "\0", "escape": "\x1b", "delete": "\x7f", "vertical tab": "\x0b"}


@BOTH
@pytest.mark.parametrize("control", CONTROLS)
def test_R49_a_response_with_control_characters_in_its_head_is_refused(stage, http2, control):
    stage.upstream.says(Says(200, [*JSON, ("x-odd", f"a{CONTROLS[control]}set-cookie: x=y")], [b"not-passed"]))
    answer = stage.ask(http2=http2)
    assert answer.status_code == 502
    assert b"not-passed" not in answer.content
    assert "x-odd" not in answer.headers
    assert stage.event()["outcome"] in ("upstream_error", "upstream_reset")


def test_R49_a_tab_in_a_value_passes(stage):
    stage.upstream.says(Says(200, [*JSON, ("x-kept", "a\tb")]))
    assert stage.ask().headers["x-kept"] == "a\tb"


@BOTH
@pytest.mark.parametrize("status", [0, 7, 99, 600, 999, 1000, 65536])
def test_R49_a_response_with_a_status_that_http_does_not_have_is_refused(stage, http2, status):
    stage.upstream.says(Says(status, JSON, [b"not-passed"]))
    answer = stage.ask(http2=http2)
    assert answer.status_code == 502
    assert b"not-passed" not in answer.content
    event = stage.event()
    assert (event["status"], event["outcome"]) == (502, "upstream_error")


def test_R49_a_response_that_switches_protocols_unasked_is_refused(stage):
    stage.upstream.says(Says(101, [("upgrade", "websocket"), ("connection", "upgrade")], []))
    assert stage.ask().status_code == 502
