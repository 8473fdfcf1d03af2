"""Agents identified by a JWT: Wirekey's own, obtained with client credentials, or an external issuer's."""

from __future__ import annotations

import base64
import hmac
import json
import time

import httpx
import jwt
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.raw_client import RawClient, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.sdk_calls import Way, openai_client
from wirekey.core.call import new_call_id
from wirekey.server.runtime import RunningProxy

ISSUER = "https://login.corp.example"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def corp_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator, corp_key):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "corp.pem").write_bytes(
        corp_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    issuer = {"issuer": ISSUER, "audience": "wirekey", "key": "corp.pem", "permissions": ["web:read", "web:write"]}
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
    configuration = behind(simulator, identity={"jwt": {"issuers": [issuer]}}, listen=listen)
    running = Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)
    running.console = wait_for(lambda: RunningProxy.read(running.state).console, "the console to listen")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def began(proxy, simulator, monkeypatch):
    simulator.forget()
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.running.forward}")
    return new_call_id()


def token_of(proxy, credentials) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret.reveal(),
    }
    response = httpx.post(f"http://{proxy.console}/api/v1/auth/token", data=form, trust_env=False)
    assert response.status_code == 200, response.text
    return response.json()["access_token"]


def corp_token(corp_key, **claims) -> str:
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": "wirekey", "sub": "erin", "iat": now, "nbf": now, "exp": now + 300}
    return jwt.encode(usual | claims, corp_key, algorithm="ES256", headers={"typ": "JWT"})


def chat(proxy, token):
    client = openai_client(Way(proxy.certs / "bundle.pem", {"openai": token}))
    return client.chat.completions.create(**ASK)


def test_a_wirekey_jwt_in_place_of_the_key_is_an_identity(proxy, simulator, began):
    credentials = proxy.agents.add_client("carol", role="engineer")
    token = token_of(proxy, credentials)
    assert chat(proxy, token).choices
    (seen,) = simulator.seen
    assert token not in str(seen.headers)
    assert PROVIDER_KEYS["openai"] in str(seen.headers)
    event = proxy.finished_event(began)
    assert (event["agent_id"], event["agent_role"]) == ("carol", "engineer")


def test_a_revoked_agents_token_is_refused_immediately_even_in_an_open_tunnel(proxy, simulator):
    credentials = proxy.agents.add_client("dan")
    token = token_of(proxy, credentials)
    with RawClient(proxy.running.forward) as client:
        assert client.connect("api.openai.com:443", "", "", f"Proxy-Authorization: Bearer {token}").status == 200
        client.start_tls(proxy.root, "api.openai.com")
        client.send(post())
        assert client.read_response().status == 200
        proxy.agents.revoke("dan")

        def refused():
            client.send(post())
            return client.read_response().status == 401

        wait_for(refused, "dan to be refused", patience=10)


def test_a_token_of_another_issuer_is_an_identity_by_its_claims(proxy, corp_key, began):
    assert chat(proxy, corp_token(corp_key)).choices
    assert proxy.finished_event(began)["agent_id"] == "erin"


def test_J4_an_expired_token_is_refused_in_an_open_tunnel(proxy, corp_key, simulator):
    past = int(time.time()) - 27  # within the leeway of 30 s, for a moment
    token = corp_token(corp_key, iat=past - 300, nbf=past - 300, exp=past)
    with RawClient(proxy.running.forward) as client:
        assert client.connect("api.openai.com:443", "", "", f"Proxy-Authorization: Bearer {token}").status == 200
        client.start_tls(proxy.root, "api.openai.com")

        def refused():
            client.send(post())
            return client.read_response().status == 401

        wait_for(refused, "the token to be refused", patience=20)


@pytest.mark.parametrize(
    "claims", [{"exp": 1}, {"aud": "other"}, {"iss": "https://evil.example"}, {"nbf": 4102444800}, {"sub": ""}]
)
def test_invalid_tokens_raise_the_sdks_usual_exception(proxy, corp_key, simulator, claims, began):
    with pytest.raises(openai.AuthenticationError, match="The JWT"):
        chat(proxy, corp_token(corp_key, **claims))
    assert not simulator.seen
    event = proxy.finished_event(began)
    assert (event["outcome"], event["agent_id"]) == ("denied", None)


def test_a_token_without_the_permission_is_403(proxy, simulator):
    credentials = proxy.agents.add_client("reader", permissions=("web:read",))
    with pytest.raises(openai.PermissionDeniedError, match="web:write"):
        chat(proxy, token_of(proxy, credentials))
    assert not simulator.seen


def test_health_and_readiness_need_no_identity(proxy):
    assert httpx.get(f"http://{proxy.console}/health", trust_env=False).json() == {"status": "ok"}
    assert httpx.get(f"http://{proxy.console}/ready", trust_env=False).status_code == 200


def segment(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(corp_key, kind: str) -> str:
    """A token of the corporate issuer as attackers write it (THREATS J1, J2, J3)."""
    good = corp_token(corp_key)
    head, claims, signature = good.split(".")
    stranger = ec.generate_private_key(ec.SECP256R1())
    public = corp_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    match kind:
        case "alg none":
            return f"{segment({'alg': 'none', 'typ': 'JWT'})}.{claims}."
        case "public key as HMAC secret":
            signed = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{claims}"
            mac = hmac.new(public, signed.encode(), "sha256").digest()
            return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        case "embedded key":
            own = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
            return jwt.encode(read, stranger, algorithm="ES256", headers={"jwk": own})
        case "key by URL":
            return jwt.encode(read, stranger, algorithm="ES256", headers={"jku": "https://evil.example/jwks.json"})
        case "kid as a path":
            return jwt.encode(read, stranger, algorithm="ES256", headers={"kid": "../../dev/null"})
        case "changed claims":
            return f"{head}.{segment(read | {'sub': 'root'})}.{signature}"
        case "no expiry":
            return jwt.encode({k: v for k, v in read.items() if k != "exp"}, corp_key, algorithm="ES256")
        case "expiry as a text":
            return jwt.encode(read | {"exp": str(read["exp"])}, corp_key, algorithm="ES256", headers={"x": "1"})
        case "huge":
            return jwt.encode(read | {"x": "a" * 12_000}, corp_key, algorithm="ES256")
        case "encrypted":
            return f"{segment({'alg': 'RSA-OAEP', 'enc': 'A256GCM', 'zip': 'DEF'})}.a.b.c.d"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "alg none", "public key as HMAC secret", "embedded key", "key by URL", "kid as a path", "changed claims",
        "no expiry", "expiry as a text", "huge", "encrypted",
    ],
)  # fmt: skip
def test_J1_J2_J3_forged_tokens_reach_nobody(kind, proxy, corp_key, simulator, began):
    with pytest.raises(openai.AuthenticationError):
        chat(proxy, forged(corp_key, kind))
    assert not simulator.seen
    event = proxy.finished_event(began)
    assert (event["outcome"], event["status"], event["agent_id"]) == ("denied", 401, None)
