"""The keys of other issuers: fetched off the loop, one at a time, seldom; the last good ones stay."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.identity.jwt_making import ec_key, ed_key, jwk, jwks, rsa_key, token

from wirekey.config.jwt import JWTConfig, JWTIssuerConfig
from wirekey.identity import jwks_fetching
from wirekey.identity.agents import AgentStore
from wirekey.identity.jwks_fetching import BETWEEN_FETCHES, GOOD_FOR, FetchedKeys, FetchError, https_fetch
from wirekey.identity.jwt_reading import RefusedTokenError
from wirekey.identity.jwt_tokens import JwtTokens
from wirekey_simulator.certificate import prepare_certificate

NOW = 1_800_000_000
ALGORITHMS = ("RS256", "ES256", "EdDSA")
FIRST, SECOND = jwk(ed_key("first"), kid="first"), jwk(ec_key(name="second"), kid="second")


class Issuer:
    """Answers what it is told to, in a thread that may be held back."""

    def __init__(self, answer=b""):
        self.answer = answer
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, url):
        self.asked += 1
        assert self.open.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


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


async def test_many_who_look_at_once_share_one_fetch_and_the_loop_goes_on(keys, issuer):
    issuer.open.clear()
    waiting = [asyncio.create_task(keys.fetch_again()) for _ in range(50)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert keys.find("first", "EdDSA") is None
    issuer.open.set()
    await asyncio.gather(*waiting)
    assert issuer.asked == 1
    assert keys.find("first", "EdDSA")


async def test_unknown_ids_lead_to_one_fetch_in_thirty_seconds(keys, issuer, clock):
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
    FetchError("it responds with 500"),
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
async def test_the_last_good_set_stays_in_force_when_the_issuer_is_down(keys, issuer, clock, caplog, outage):
    await keys.fetch_again()
    issuer.answer = outage
    clock.now += GOOD_FOR + 1
    with caplog.at_level(logging.WARNING):
        await keys.fetch_again()
    assert issuer.asked == 2
    assert keys.find("first", "EdDSA")
    assert "stay in use" in caplog.text
    assert "https://id.example/jwks" in caplog.text
    assert "secret" not in caplog.text


async def test_a_key_that_its_issuer_took_back_is_believed_no_more(keys, issuer, clock):
    await keys.fetch_again()
    known = keys.find("first", "EdDSA").thumbprint
    issuer.answer = jwks(SECOND)
    clock.now += GOOD_FOR + 1
    keys.keep_fresh()
    await keys.fetch_again()
    assert not keys.holds(known)
    assert keys.find("first", "EdDSA") is None
    assert keys.find("second", "ES256")
    issuer.answer = jwks()
    clock.now += BETWEEN_FETCHES
    await keys.fetch_again()
    assert keys.find("second", "ES256") is None


async def test_keeping_fresh_fetches_at_first_and_every_ten_minutes(keys, issuer, clock):
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


async def test_an_issuer_that_hangs_holds_a_request_for_a_while_only(keys, issuer, monkeypatch):
    monkeypatch.setattr(jwks_fetching, "PATIENCE", 0.05)
    issuer.open.clear()
    await keys.fetch_again()
    await keys.fetch_again()
    assert issuer.asked == 1
    issuer.open.set()


def test_a_fetch_that_outlives_its_loop_disturbs_nobody(issuer, clock):
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
        status, headers, body = self.server.answer
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
    server.answer, server.seen = (200, {}, jwks(FIRST)), []
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
    server.answer, server.seen[:] = (200, {}, jwks(FIRST)), []
    return https_fetch(server.root)


def test_a_document_comes_over_tls_and_past_the_proxy_of_the_environment(server, fetch, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert https_fetch(server.root)(server.url) == jwks(FIRST)
    assert server.seen[0][0] == "/jwks.json"


def test_a_server_whose_certificate_is_not_trusted_is_not_believed(server):
    with pytest.raises(FetchError, match="cannot be reached"):
        https_fetch()(server.url)


ANSWERS = [
    ((404, {}, b""), "responds with 404"),
    ((500, {}, b""), "responds with 500"),
    ((302, {"location": "https://evil.example/"}, b""), "redirect"),
    ((307, {"location": "file:///etc/passwd"}, b""), "responds with 307"),
    ((200, {}, b"x" * (jwks_fetching.MAX_BYTES + 1)), "longer than"),
    ((200, {"transfer-encoding": "chunked"}, b"rubbish\r\n"), "is incomplete"),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS, ids=[row[1] for row in ANSWERS])
def test_answers_that_are_no_document(server, fetch, answer, reason):
    server.answer = answer
    with pytest.raises(FetchError, match=reason):
        fetch(server.url)


def test_a_server_that_is_not_there(fetch):
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch("https://localhost:1/")


async def test_tokens_validate_through_the_rotation_of_their_issuers_keys(server, fetch, tmp_path, monkeypatch):
    """At first one key, then the next beside it, then that alone, then the issuer is down."""
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

    server.answer = 200, {}, jwks(FIRST, SECOND)
    clock.now += BETWEEN_FETCHES
    assert await who("b", new, ec_key(name="second")) == "b"
    assert await who("c", old, ed_key("first")) == "c"
    held = await tokens.identify(token(old, {**claims, "sub": "c"}, ed_key("first")), NOW)

    server.answer = 200, {}, jwks(SECOND)
    clock.now += GOOD_FOR + 1
    tokens.keep_fresh()
    await issuer.keys.fetch_again()
    assert tokens.find_agent(held, NOW) is None
    with pytest.raises(RefusedTokenError, match="took back"):
        await who("c", old, ed_key("first"))

    server.answer = 503, {}, b""
    clock.now += GOOD_FOR + 1
    tokens.keep_fresh()
    await issuer.keys.fetch_again()
    assert await who("d", new, ec_key(name="second")) == "d"
    assert len(server.seen) == 4
    with pytest.raises(RefusedTokenError, match="signature"):
        await who("e", new, ec_key(name="evil"))
    with pytest.raises(RefusedTokenError, match="signed with a key"):
        await who("f", {"alg": "RS256", "kid": "second"}, rsa_key())
