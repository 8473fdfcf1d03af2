"""What the simulator refuses, what it remembers, and how it starts and stops."""

import asyncio
import hashlib
import json

import httpx
import pytest
from cryptography import x509

from tests.support.running import PROVIDER_KEYS, wait_for
from wirekey_simulator.certificate import prepare_certificate
from wirekey_simulator.exchange import SimulatedRequest
from wirekey_simulator.hosts import provider_of
from wirekey_simulator.server import Simulator

KEY = PROVIDER_KEYS["openai"]
PATH = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
TOKEN = "wk_" + "a1B2" * 10 + "xyz"


@pytest.mark.parametrize(
    ("headers", "query", "named"),
    [
        ({"via": "1.1 proxy"}, "", "via"),
        ({"forwarded": "for=1.2.3.4"}, "", "forwarded"),
        ({"X-Forwarded-For": "1.2.3.4"}, "", "x-forwarded-for"),
        ({"Proxy-Authorization": "Basic hush"}, "", "proxy-authorization"),
        ({"X-Wirekey-Agent": "alice"}, "", "x-wirekey-agent"),
        ({"X-OpenAI-Key": "hush"}, "", "x-openai-key"),
        ({"X-AWS-Secret-Key": "hush"}, "", "x-aws-secret-key"),
        ({"x-api-key": "hush"}, "", "x-api-key"),
        ({"x-goog-api-key": "hush"}, "", "x-goog-api-key"),
        ({"api-key": "hush"}, "", "api-key"),
        ({}, "?key=hush", "?key="),
        ({"x-anything": TOKEN}, "", "x-anything"),
        ({}, f"?a={TOKEN}", "target"),
    ],
)
def test_misplaced_headers_are_named_and_never_quoted(http, headers, query, named):
    response = http.post(PATH + query, json=BODY, headers=headers)
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert named in message
    assert "hush" not in message
    assert TOKEN not in message


def test_two_credentials_in_one_place_are_refused(http):
    response = http.post(PATH, json=BODY, headers=[("authorization", f"Bearer {KEY}"), ("authorization", "Bearer b")])
    assert response.status_code == 400
    assert "more than one credential" in response.json()["error"]["message"]


def test_text_about_tokens_in_a_prompt_is_content(http):
    assert http.post(PATH, json={**BODY, "user": TOKEN}).status_code == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"bearer {KEY} {KEY}"])
def test_a_missing_or_wrong_credential_gets_401(http, value):
    response = http.post(PATH, json=BODY, headers={"authorization": value})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_the_key_is_quoted_only_when_the_test_asks_for_it(http):
    response = http.post(PATH, json=BODY, headers={"x-simulator": "echo-key"})
    assert response.status_code == 401
    assert KEY in response.text


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [("evnets=3", "did you mean events?"), ("events=many", "needs a number"), ("gzip=7", "takes no value")],
)
def test_an_unknown_behaviour_is_explained(http, behaviour, sentence):
    response = http.post(PATH, json=BODY, headers={"x-simulator": behaviour})
    assert response.status_code == 400
    assert sentence in response.json()["error"]["message"]


def test_requests_are_remembered_exactly(http, simulator):
    body = json.dumps(BODY).encode()
    http.post(PATH + "?a=%41&b", content=body, headers={"X-Mixed-Case": "Value", "content-type": "application/json"})
    (seen,) = simulator.seen
    # The client has the response before the simulator's thread has noted its end.
    assert wait_for(lambda: seen.outcome, "the outcome") == "completed"
    assert (seen.method, seen.target, seen.protocol, seen.tls) == ("POST", PATH + "?a=%41&b", "h1", True)
    assert (seen.body, seen.size, seen.sha256) == (body, len(body), hashlib.sha256(body).hexdigest())
    assert (b"X-Mixed-Case", b"Value") in seen.headers
    assert (seen.provider, seen.status) == ("openai", 200)
    assert KEY not in repr(seen)


def test_the_list_of_requests_has_no_credential_and_no_content(http):
    http.post(PATH + "?key=canary-key", json={**BODY, "user": "canary-content"})
    told = http.get("/__simulator__/seen")
    assert told.json()[0]["target"].startswith(f"{PATH}?key=sha256:")
    for canary in (KEY, "canary-key", "canary-content"):
        assert canary not in told.text


def test_a_script_is_set_and_forgotten_over_http(http, simulator):
    assert http.post("/__simulator__/next", json={"behaviour": "fail=429", "times": 2}).status_code == 200
    assert http.post(PATH, json=BODY).status_code == 429
    assert http.post("/__simulator__/reset").json() == {"reset": True}
    assert http.post(PATH, json=BODY).status_code == 200
    assert len(simulator.seen) == 1
    for wrong in ({"behaviour": "nonsense"}, {"behaviour": "gzip", "times": "x"}, {"behaviour": "gzip", "times": []}):
        assert http.post("/__simulator__/next", json=wrong).status_code == 400
    assert http.get("/__simulator__/other").status_code == 404


@pytest.mark.parametrize(
    ("hosts", "line", "headers", "provider"),
    [
        (("api.openai.com", None), "POST /anything", {}, "openai"),
        (("api.anthropic.com:443", None), "GET /v1/models", {}, "anthropic"),
        (("generativelanguage.googleapis.com", None), "GET /v1/models", {}, "gemini"),
        (("bedrock-runtime.eu-west-3.amazonaws.com", None), "POST /x", {}, "bedrock"),
        (("127.0.0.1:9", "api.anthropic.com"), "GET /v1/models", {}, "anthropic"),
        (("localhost", "localhost"), "POST /v1/messages/count_tokens", {}, "anthropic"),
        (("localhost", None), "GET /v1/models", {"anthropic-version": "2023-06-01"}, "anthropic"),
        (("localhost", None), "GET /v1/models", {}, "openai"),
        (("localhost", None), "DELETE /v1/models/ft:gpt-4o:mine", {}, "openai"),
        (("localhost", None), "POST /v1/models/gemini-2.5-flash:generateContent", {}, "gemini"),
        (("localhost", None), "POST /v1beta/openai/chat/completions", {}, "gemini"),
        (("localhost", None), "POST /upload/v1beta/files?key=x", {}, "gemini"),
        (("localhost", None), "POST /model/anthropic.claude-v2%3A1/invoke", {}, "bedrock"),
        (("localhost", None), "GET /other", {}, None),
        (("[::1]:443", None), "POST /v1/responses", {}, "openai"),
    ],
)
def test_the_provider_is_found_by_host_then_by_path(hosts, line, headers, provider):
    (authority, sni), (method, target) = hosts, line.split()
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    request = SimulatedRequest(method, authority, target, raw, b"", 0, "", "h1", tls=True, sni=sni)
    assert provider_of(request) == provider


def test_the_certificate_is_kept_while_it_is_good_and_names_the_real_hosts(tmp_path):
    server, root = prepare_certificate(tmp_path / "deep" / "folder")
    first = server.read_bytes()
    assert server.stat().st_mode & 0o777 == 0o600
    leaf = x509.load_pem_x509_certificates(first)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in ("localhost", "api.openai.com", "bedrock-runtime.us-west-2.amazonaws.com"):
        assert name in names.get_values_for_type(x509.DNSName)
    assert prepare_certificate(server.parent)[0].read_bytes() == first
    root.write_text("broken")
    assert prepare_certificate(server.parent)[0].read_bytes() != first


def test_the_real_host_names_are_served_by_sni(simulator, context):
    async def alpn_of(name: str, protocols: list[str]) -> str:
        context.set_alpn_protocols(protocols)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", simulator.simulator.port, ssl=context, server_hostname=name
        )
        secured = writer.get_extra_info("ssl_object")
        writer.close()
        return secured.selected_alpn_protocol()

    for name in ("api.openai.com", "generativelanguage.googleapis.com", "api.anthropic.com"):
        assert asyncio.run(alpn_of(name, ["h2", "http/1.1"])) == "h2"
        assert asyncio.run(alpn_of(name, ["http/1.1"])) == "http/1.1"


@pytest.mark.parametrize("http2", [False, True])
async def test_it_starts_and_stops_in_any_loop_and_breaks_off_what_is_in_progress(tmp_path, http2):
    simulator = Simulator(certificate_folder=tmp_path, tls=False)
    await simulator.start()
    async with httpx.AsyncClient(
        base_url=simulator.url, headers={"authorization": "Bearer any"}, http1=not http2, http2=http2, trust_env=False
    ) as client:
        assert (await client.post(PATH, json=BODY)).status_code == 200
        held = {"json": {**BODY, "stream": True}, "headers": {"x-simulator": "stall-after=1"}}
        async with client.stream("POST", PATH, **held) as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            await asyncio.wait_for(simulator.stop(), 2)
            with pytest.raises(httpx.TransportError):
                await anext(pieces)
        with pytest.raises(httpx.TransportError):
            await client.post(PATH, json=BODY)
    await simulator.stop()


async def test_a_port_in_use_raises_os_error(tmp_path):
    first = Simulator(certificate_folder=tmp_path, tls=False)
    await first.start()
    with pytest.raises(OSError, match="address"):
        await Simulator(certificate_folder=tmp_path, tls=False, port=first.port).start()
    await first.stop()


async def test_a_signature_is_accepted_unverified_only_by_option(tmp_path):
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/bedrock/aws4_request, Signature=0"}
    asked = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    statuses = []
    for accepted in (False, True):
        simulator = Simulator(certificate_folder=tmp_path, tls=False, accept_sigv4_unverified=accepted)
        await simulator.start()
        async with httpx.AsyncClient(base_url=simulator.url, headers=signed, trust_env=False) as client:
            statuses.append((await client.post("/model/amazon.nova-lite-v1%3A0/converse", json=asked)).status_code)
            statuses.append((await client.post(PATH, json=BODY)).status_code)
        await simulator.stop()
    assert statuses == [403, 401, 200, 401]
