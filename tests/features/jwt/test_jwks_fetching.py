"""Keys of external issuers are fetched in a thread, one fetch at a time and rarely. The last good keys stay valid."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.features.jwt.jwt_making import ec_key, ed_key, jwk, jwks, rsa_key, token
from tests.support.company_proxy import company_proxy
from wirekey.core.egress.http_client import HttpError, HttpResponse
from wirekey.core.egress.upstream_proxy import UpstreamProxy
from wirekey.core.identity.agents import AgentStore
from wirekey.features.jwt import jwks_fetching
from wirekey.features.jwt.config import JWTConfig, JWTIssuerConfig
from wirekey.features.jwt.jwks_fetching import BETWEEN_FETCHES, GOOD_FOR, FetchedKeys, https_fetch
from wirekey.features.jwt.reading import RefusedTokenError
from wirekey.features.jwt.tokens import JwtTokens
from wirekey_simulator.certificate import prepare_certificate

NOW = 1_800_000_000
ALGORITHMS = ("RS256", "ES256", "EdDSA")
RESPONSE = HttpResponse(200, {}, b"{}")
FIRST, SECOND = jwk(ed_key("first"), kid="first"), jwk(ec_key(name="second"), kid="second")


class Issuer:
    """A fetch function that returns or raises `response`, in a thread that a test can hold back with `open`."""

    def __init__(self, response=b""):
        self.response = response
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, url):
        self.asked += 1
        assert self.open.wait(60)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def issuer():
    return Issuer(jwks(FIRST))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(issuer, clock):
    return FetchedKeys("https://id.example/jwks?secret=1", ALGORITHMS, issuer, clock)


async def test_concurrent_lookups_share_one_fetch_and_do_not_block_the_loop(keys, issuer):
    issuer.open.clear()
    waiting = [asyncio.create_task(keys.fetch_again()) for _ in range(50)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert keys.find("first", "EdDSA") is None
    issuer.open.set()
    await asyncio.gather(*waiting)
    assert issuer.asked == 1
    assert keys.find("first", "EdDSA")


async def test_unknown_ids_cause_at_most_one_fetch_in_thirty_seconds(keys, issuer, clock):
    for _ in range(100):
        await keys.fetch_again()
    assert issuer.asked == 1
    clock.now += BETWEEN_FETCHES - 0.1
    await keys.fetch_again()
    assert issuer.asked == 1
    clock.now += 0.1
    await keys.fetch_again()
    assert issuer.asked == 2


OUTAGES = [
    HttpError("it responds with 500"),
    OSError("down"),
    b"",
    b"<html>",
    b"{}",
    b'{"keys": {}}',
    b'{"keys": [], "keys": []}',
    b"[" * 200_000,
    b"\xff",
    jwks(*[{}] * 101),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=range(len(OUTAGES)))
async def test_the_last_good_set_stays_valid_while_the_issuer_is_down(keys, issuer, clock, caplog, outage):
    await keys.fetch_again()
    issuer.response = outage
    clock.now += GOOD_FOR + 1
    with caplog.at_level(logging.WARNING):
        await keys.fetch_again()
    assert issuer.asked == 2
    assert keys.find("first", "EdDSA")
    assert "stay in use" in caplog.text
    assert "https://id.example/jwks" in caplog.text
    assert "secret" not in caplog.text


async def test_a_key_withdrawn_by_its_issuer_is_no_longer_trusted(keys, issuer, clock):
    await keys.fetch_again()
    known = keys.find("first", "EdDSA").thumbprint
    issuer.response = jwks(SECOND)
    clock.now += GOOD_FOR + 1
    keys.keep_fresh()
    await keys.fetch_again()
    assert not keys.holds(known)
    assert keys.find("first", "EdDSA") is None
    assert keys.find("second", "ES256")
    issuer.response = jwks()
    clock.now += BETWEEN_FETCHES
    await keys.fetch_again()
    assert keys.find("second", "ES256") is None


async def test_keys_are_fetched_at_start_and_every_ten_minutes(keys, issuer, clock):
    for _ in range(10):
        keys.keep_fresh()
    await keys.fetch_again()
    keys.keep_fresh()
    clock.now += GOOD_FOR
    keys.keep_fresh()
    assert issuer.asked == 1
    clock.now += 1
    keys.keep_fresh()
    await keys.fetch_again()
    assert issuer.asked == 2


async def test_a_hanging_issuer_delays_a_request_only_for_a_limited_time(keys, issuer, monkeypatch):
    monkeypatch.setattr(jwks_fetching, "PATIENCE", 0.05)
    issuer.open.clear()
    await keys.fetch_again()
    await keys.fetch_again()
    assert issuer.asked == 1
    issuer.open.set()


def test_a_fetch_that_outlives_its_loop_is_harmless(issuer, clock):
    keys = FetchedKeys("https://id.example/", ALGORITHMS, issuer, clock)
    issuer.open.clear()

    async def begin():
        keys.keep_fresh()

    asyncio.run(begin())
    issuer.open.set()
    for thread in threading.enumerate():
        if thread.name == "wirekey-jwks":
            thread.join(60)
    assert issuer.asked == 1


# Over TLS, from a real server.


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        status, headers, body = self.server.response
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    pem, root = prepare_certificate(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.response, server.seen = (200, {}, jwks(FIRST)), []
    server.url = f"https://localhost:{server.server_port}/jwks.json"
    server.root = root
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("issuer")) as server:
        yield server


@pytest.fixture
def fetch(server):
    server.response, server.seen[:] = (200, {}, jwks(FIRST)), []
    return https_fetch(server.root)


def test_a_document_is_fetched_over_tls_and_without_the_environments_proxy(server, fetch, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert https_fetch(server.root)(server.url) == jwks(FIRST)
    assert server.seen[0][0] == "/jwks.json"


def test_a_server_with_an_untrusted_certificate_is_rejected(server):
    with pytest.raises(HttpError, match="certificate is not trusted"):
        https_fetch()(server.url)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "169.254.1.1", "127.0.0.1", "::1", "fd00:ec2::254", "224.0.0.1", "::ffff:10.1.2.3"]
)
def test_D3_an_issuer_whose_name_resolves_to_such_an_address_is_not_dialled(server, fetch, monkeypatch, address):
    monkeypatch.setattr(jwks_fetching, "resolve", lambda *_: ("8.8.8.8", address))
    with pytest.raises(HttpError, match=r"^id\.example resolves to"):
        fetch(f"https://id.example:{server.server_port}/jwks.json")
    assert server.seen == []


def test_an_issuer_is_reached_through_a_proxy_that_resolves_its_name(server, fetch):
    with company_proxy(("127.0.0.1", server.server_port)) as proxy:
        through = https_fetch(server.root, lambda *_: UpstreamProxy("127.0.0.1", proxy.port))
        assert through("https://localhost:1/jwks.json") == jwks(FIRST)
        with pytest.raises(HttpError):  # another name than the certificate's
            through("https://id.invalid/jwks.json")
        with pytest.raises(HttpError, match="resolves to"):
            through("https://169.254.169.254/jwks.json")
    assert proxy.asked == ["CONNECT localhost:1 HTTP/1.1", "CONNECT id.invalid:443 HTTP/1.1"]


def test_an_issuer_may_be_on_a_private_network(fetch, monkeypatch):
    dialled = []
    monkeypatch.setattr(jwks_fetching, "resolve", lambda *_: ("10.1.2.3", "fd00::1"))
    monkeypatch.setattr(jwks_fetching, "fetch", lambda server, _: dialled.append(server.addresses) or [RESPONSE])
    assert fetch("https://id.example/jwks.json") == RESPONSE.body
    assert dialled == [("10.1.2.3", "fd00::1")]


def test_D3_the_address_that_was_checked_is_the_one_that_is_dialled(server, fetch, monkeypatch):
    """The name is resolved once: a second answer of its DNS server is never asked for."""
    resolved = []
    find = socket.getaddrinfo

    def rebinding(host, *arguments, **options):
        resolved.append(host)
        return find(host if resolved.count("localhost") < 2 else "10.1.2.3", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert fetch(server.url) == jwks(FIRST)
    assert resolved.count("localhost") == 1


BAD_RESPONSES = [
    ((404, {}, b""), "responds with 404"),
    ((500, {}, b""), "responds with 500"),
    ((302, {"location": "https://evil.example/"}, b""), "redirect"),
    ((307, {"location": "file:///etc/passwd"}, b""), "redirects"),
    ((200, {}, b"x" * (jwks_fetching.MAX_BYTES + 1)), "longer than"),
    ((200, {"transfer-encoding": "chunked"}, b"rubbish\r\n"), "cannot be read"),
]


@pytest.mark.parametrize(("response", "reason"), BAD_RESPONSES, ids=[row[1] for row in BAD_RESPONSES])
def test_a_bad_response_is_an_error(server, fetch, response, reason):
    server.response = response
    with pytest.raises(HttpError, match=reason):
        fetch(server.url)


def test_an_unreachable_server_is_an_error(fetch):
    with pytest.raises(HttpError, match="cannot be reached"):
        fetch("https://localhost:1/")


async def test_tokens_validate_throughout_a_key_rotation_of_their_issuer(server, fetch, tmp_path, monkeypatch):
    """The issuer has one key, then also the next, then only the next, then it is down."""
    settings = JWTConfig(
        issuers=(JWTIssuerConfig(issuer="https://id.example", jwks_url=server.url, permissions=("web:read",)),)
    )
    tokens = JwtTokens.of_settings(settings, AgentStore(tmp_path / "agents.json"), None, fetch)
    clock = Clock()
    [issuer] = tokens.issuers
    monkeypatch.setattr(issuer.keys, "_clock", clock)
    claims = {"iss": "https://id.example", "aud": "wirekey", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
    old, new = {"alg": "EdDSA", "kid": "first"}, {"alg": "ES256", "kid": "second"}

    async def who(name, header, key):
        text = token(header, {**claims, "sub": name}, key)
        return tokens.find_agent(await tokens.identify(text, NOW), NOW).id

    assert await who("a", old, ed_key("first")) == "a"
    with pytest.raises(RefusedTokenError, match="key that is not its issuer's"):
        await who("b", new, ec_key(name="second"))
    assert len(server.seen) == 1

    server.response = 200, {}, jwks(FIRST, SECOND)
    clock.now += BETWEEN_FETCHES
    assert await who("b", new, ec_key(name="second")) == "b"
    assert await who("c", old, ed_key("first")) == "c"
    held = await tokens.identify(token(old, {**claims, "sub": "c"}, ed_key("first")), NOW)

    server.response = 200, {}, jwks(SECOND)
    clock.now += GOOD_FOR + 1
    tokens.keep_fresh()
    await issuer.keys.fetch_again()
    assert tokens.find_agent(held, NOW) is None
    with pytest.raises(RefusedTokenError, match="took back"):
        await who("c", old, ed_key("first"))

    server.response = 503, {}, b""
    clock.now += GOOD_FOR + 1
    tokens.keep_fresh()
    await issuer.keys.fetch_again()
    assert await who("d", new, ec_key(name="second")) == "d"
    assert len(server.seen) == 4
    with pytest.raises(RefusedTokenError, match="signature"):
        await who("e", new, ec_key(name="evil"))
    with pytest.raises(RefusedTokenError, match="signed with a key"):
        await who("f", {"alg": "RS256", "kid": "second"}, rsa_key())
