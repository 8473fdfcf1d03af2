"""The token endpoint responds as RFC 6749 requires, leaks nothing, and slows down guessing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus, urlencode

import jwt
import pytest

from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.import_file import read_entries
from wirekey.core.identity.throttle import FORGOTTEN, FREE, MAX_WAIT, Throttle, neighbourhood
from wirekey.features.jwt.config import JWTConfig
from wirekey.features.jwt.signing_keys import JwtSigningKeys
from wirekey.features.jwt.token_endpoint import TokenEndpoint
from wirekey.features.jwt.token_request import MAX_BODY, TokenRequest, parse_grant

NOW = 1_800_000_000
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Endpoint:
    def __init__(self, folder):
        self.now = float(NOW)
        self.agents = AgentStore(folder / "agents.json", lambda: self.now)
        self.keys = JwtSigningKeys(folder / "jwt-keys.json", 3600, lambda: self.now)
        self.endpoint = TokenEndpoint(JWTConfig(), self.keys, self.agents)
        made = self.agents.add_client("alice", role="ops", type="cli")
        self.id, self.secret = made.client_id, made.client_secret.reveal()

    def ask(self, body=b"", content_type=JSON, *, method="POST", headers=(), address="192.0.2.1"):
        typed = [("Content-Type", content_type)] if content_type else []
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = TokenRequest(method, [*typed, *headers], data, address)
        response = self.endpoint.respond(request, self.now, self.now)
        fields = dict(response.headers)
        assert fields["cache-control"] == "no-store"
        assert fields["pragma"] == "no-cache"
        assert fields["content-type"] == JSON
        assert int(fields["content-length"]) == len(response.body)
        assert self.secret.encode() not in response.body
        return response.status, json.loads(response.body), fields

    def whole(self, **change):
        found = {"grant_type": "client_credentials", "client_id": self.id, "client_secret": self.secret, **change}
        return {name: value for name, value in found.items() if value is not None}

    def guess(self, address="192.0.2.1", client_id=None, secret="wks_no"):
        return self.ask(self.whole(client_id=client_id or self.id, client_secret=secret), address=address)


@pytest.fixture
def services(tmp_path):
    return Endpoint(tmp_path)


def basic(client_id, secret):
    return "Authorization", "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def grant(services, way):
    whole = services.whole()
    alone = {"grant_type": "client_credentials"}
    match way:
        case "json":
            return services.ask(whole)
        case "json with charset":
            return services.ask(whole, "application/json; charset=utf-8")
        case "form":
            return services.ask(urlencode(whole).encode(), FORM)
        case "form in capitals":
            return services.ask(urlencode(whole).encode(), "Application/X-WWW-Form-URLEncoded;charset=UTF-8")
        case "basic":
            return services.ask(urlencode(alone).encode(), FORM, headers=[basic(services.id, services.secret)])
        case "basic, escaped as the RFC has it":
            shown = basic(quote_plus(services.id, safe=""), services.secret.replace("_", "%5F"))
            return services.ask(urlencode(alone).encode(), FORM, headers=[shown])
        case "basic with json":
            return services.ask(alone, headers=[basic(services.id, services.secret)])
        case "basic, the id in the body too":
            return services.ask(services.whole(client_secret=None), headers=[basic(services.id, services.secret)])
        case "what is unknown and what is empty is passed over":
            return services.ask({**whole, "audience": "x", "more": [1], "scope": ""})


WAYS = [
    "json",
    "json with charset",
    "form",
    "form in capitals",
    "basic",
    "basic, escaped as the RFC has it",
    "basic with json",
    "basic, the id in the body too",
    "what is unknown and what is empty is passed over",
]


@pytest.mark.parametrize("way", WAYS)
def test_a_client_gets_a_token(services, way):
    status, content, _ = grant(services, way)
    assert status == 200
    assert (content["token_type"], content["expires_in"], content["scope"]) == ("bearer", 3600, "web:read web:write")
    [key] = json.loads(services.endpoint.keys("GET").body)["keys"]
    claims = jwt.decode(
        content["access_token"],
        jwt.PyJWK(key),
        algorithms=["EdDSA"],
        audience="wirekey",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims.pop("jti")
    assert claims == {
        "iss": "wirekey",
        "aud": "wirekey",
        "sub": "alice",
        "client_id": services.id,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3600,
        "permissions": ["web:read", "web:write"],
        "role": "ops",
        "type": "cli",
    }


def test_two_tokens_issued_in_the_same_second_differ(services):
    assert services.ask(services.whole())[1]["access_token"] != services.ask(services.whole())[1]["access_token"]


def test_a_scope_narrows_the_permissions_and_never_widens_them(services):
    assert services.ask(services.whole(scope="web:read"))[1]["scope"] == "web:read"
    status, content, _ = services.ask(services.whole(scope="web:read admin"))
    assert (status, content["error"]) == (400, "invalid_scope")
    assert "web:read web:write" in content["error_description"]


def test_a_token_expires_with_the_credentials_that_obtained_it(services):
    services.agents.rotate_client("alice", overlap_seconds=600)
    assert services.ask(services.whole())[1]["expires_in"] == 600
    services.now += 600
    assert services.ask(services.whole())[0] == 401


TWICE = b"grant_type=client_credentials&grant_type=client_credentials"
ERRORS = [
    ("no body", b"", FORM, 400, "invalid_request"),
    ("no body, JSON", b"", JSON, 400, "invalid_request"),
    ("no grant_type", {"grant_type": None}, JSON, 400, "invalid_request"),
    ("empty grant_type", {"grant_type": ""}, JSON, 400, "invalid_request"),
    ("password grant", {"grant_type": "password"}, JSON, 400, "unsupported_grant_type"),
    ("grant_type in capitals", {"grant_type": "CLIENT_CREDENTIALS"}, JSON, 400, "unsupported_grant_type"),
    ("no client_id", {"client_id": None}, JSON, 401, "invalid_client"),
    ("no secret", {"client_secret": None}, JSON, 401, "invalid_client"),
    ("empty secret", {"client_secret": ""}, JSON, 401, "invalid_client"),
    ("wrong secret", {"client_secret": "wks_" + "a" * 43}, JSON, 401, "invalid_client"),
    ("unknown client", {"client_id": "wkc_" + "a" * 22}, JSON, 401, "invalid_client"),
    ("the agent's name for its client", {"client_id": "alice"}, JSON, 401, "invalid_client"),
    ("a client id that is none", {"client_id": "../../etc\0"}, JSON, 401, "invalid_client"),
    ("a lone surrogate", {"client_secret": "\ud800"}, JSON, 401, "invalid_client"),
    ("secret is a number", {"client_secret": 1}, JSON, 400, "invalid_request"),
    ("secret is a list", {"client_secret": ["a"]}, JSON, 400, "invalid_request"),
    ("JSON list", b"[]", JSON, 400, "invalid_request"),
    ("JSON that breaks off", b'{"grant_type":', JSON, 400, "invalid_request"),
    ("JSON name twice", b'{"grant_type":"client_credentials","grant_type":"x"}', JSON, 400, "invalid_request"),
    ("deep JSON", b"[" * 16000, JSON, 400, "invalid_request"),
    ("not UTF-8", b"\xff\xfe", JSON, 400, "invalid_request"),
    ("form parameter twice", TWICE, FORM, 400, "invalid_request"),
    ("form that is none", b"grant_type", FORM, 400, "invalid_request"),
    ("broken escape", b"grant_type=%zz", FORM, 400, "invalid_request"),
    ("escape that is not UTF-8", b"grant_type=%ff", FORM, 400, "invalid_request"),
    ("too many parameters", b"a=1&" * 40 + b"b=2", FORM, 400, "invalid_request"),
    ("too long", b" " * (MAX_BODY + 1), JSON, 413, "invalid_request"),
    ("multipart", b"", "multipart/form-data; boundary=x", 415, "invalid_request"),
    ("JSON said to be text", {}, "text/plain", 415, "invalid_request"),
    ("no content type", {}, None, 415, "invalid_request"),
]


@pytest.mark.parametrize(("_", "body", "content_type", "status", "error"), ERRORS, ids=[row[0] for row in ERRORS])
def test_errors_are_as_in_RFC_6749(services, request, _, body, content_type, status, error):  # noqa: PLR0917  # a table
    sent = services.whole(**body) if isinstance(body, dict) else body
    answered, content, fields = services.ask(sent, content_type)
    assert (answered, content["error"]) == (status, error)
    assert content["error_description"].isascii()
    assert "www-authenticate" not in fields


BASIC = [
    ("Bearer", "Bearer x", 401),
    ("not base64", "Basic ***", 401),
    ("no colon", "Basic " + base64.b64encode(b"name").decode(), 401),
    ("no secret", "Basic " + base64.b64encode(b"name:").decode(), 401),
    ("not UTF-8", "Basic " + base64.b64encode(b"\xff:\xff").decode(), 401),
    ("nothing", "", 401),
    ("J8: a secret with colons", basic("wkc_" + "a" * 22, "a:b:c")[1], 401),
]


@pytest.mark.parametrize(("_", "value", "status"), BASIC, ids=[row[0] for row in BASIC])
def test_a_failure_by_header_returns_the_scheme(services, _, value, status):
    body = {"grant_type": "client_credentials"}
    answered, content, fields = services.ask(body, headers=[("authorization", value)])
    assert (answered, content["error"]) == (status, "invalid_client")
    assert fields["www-authenticate"].startswith('Basic realm="wirekey"')


def test_J8_a_secret_may_hold_colons(services):
    request = TokenRequest(
        "POST", [("content-type", JSON), basic("id", "a:b:c")], b'{"grant_type":"client_credentials"}', "::1"
    )
    assert parse_grant(request).client_secret == "a:b:c"
    assert "a:b:c" not in repr(parse_grant(request))


def test_a_request_with_credentials_in_two_places_is_refused(services):
    shown = basic(services.id, services.secret)
    assert services.ask(services.whole(), headers=[shown])[:1] == (400,)
    assert services.ask(services.whole(client_secret=None, client_id="x"), headers=[shown])[:1] == (400,)
    assert services.ask({"grant_type": "client_credentials"}, headers=[shown, shown])[0] == 401


def test_other_methods_and_encoded_bodies_are_refused(services):
    for method in ("GET", "PUT", "HEAD", "post"):
        status, _, fields = services.ask(services.whole(), method=method)
        assert (status, fields["allow"]) == (405, "POST")
    assert services.ask(services.whole(), headers=[("Content-Encoding", "gzip")])[0] == 415
    assert services.ask(services.whole(), headers=[("Content-Encoding", "identity")])[0] == 200
    assert services.ask(services.whole(), headers=[("Content-Type", FORM)])[0] == 415


@pytest.mark.parametrize("ending", ["revoke", "rotate"])
def test_expired_or_revoked_credentials_are_refused(services, ending):
    if ending == "revoke":
        services.agents.revoke("alice")
    else:
        services.agents.rotate_client("alice")
    assert services.ask(services.whole())[0] == 401


def test_J9_a_client_that_fails_waits_longer_each_time(services):
    for _ in range(FREE):
        assert services.guess()[0] == 401
    status, content, fields = services.guess()
    assert (status, content["error"], fields["retry-after"]) == (429, "slow_down", "1")
    waits = []
    for _ in range(10):
        services.now += int(services.guess()[2]["retry-after"])
        assert services.guess()[0] in (401, 429)
        waits.append(int(services.guess()[2]["retry-after"]))
    assert waits == sorted(waits)
    assert waits[-1] == MAX_WAIT
    services.now += MAX_WAIT
    assert services.ask(services.whole())[0] == 200
    assert services.guess()[0] in (401, 429)
    assert services.ask(services.whole())[0] == 200


def test_J9_who_guesses_from_one_address_locks_nobody_out_elsewhere(services):
    for _ in range(20):
        services.guess("198.51.100.1")
    assert services.guess("198.51.100.1")[0] == 429
    assert services.guess("192.0.2.1")[0] == 401
    assert services.ask(services.whole(), address="192.0.2.1")[0] == 200


def test_R11_the_right_secret_is_let_through_from_where_others_fail(services):
    for _ in range(20):
        services.guess()
    assert services.guess()[0] == 429
    assert services.ask(services.whole())[0] == 200
    for _ in range(20):
        services.guess()
    assert services.guess()[0] == 429
    assert services.ask(services.whole())[0] == 200


def test_J9_an_imported_secret_with_little_entropy_is_not_verified_while_guesses_must_wait(services):
    client = {"agent": "weak", "client_id": "app", "client_secret": "hunter2hunter2hunter2"}
    services.agents.import_agents(read_entries(json.dumps([client]).encode(), "users"))
    whole = services.whole(client_id="app", client_secret=client["client_secret"])
    assert services.ask(whole)[0] == 200
    for _ in range(FREE):
        assert services.guess(client_id="app")[0] == 401
    status, content, fields = services.ask(whole)
    assert (status, content["error"], fields["retry-after"]) == (429, "slow_down", "1")
    assert services.ask(whole, address="198.51.100.1")[0] == 200
    services.now += 1
    assert services.ask(whole)[0] == 200


def test_J9_an_address_that_tries_many_clients_is_slowed_and_its_neighbours_still_get_tokens(services):
    for number in range(FREE):
        assert services.guess(client_id=f"wkc_{number:022}")[0] == 401
    assert services.guess(client_id="wkc_" + "z" * 22)[0] == 429
    assert services.ask(services.whole())[0] == 200


def test_J9_one_cannot_get_around_it_by_addresses_that_one_owns(services):
    for number in range(FREE):
        services.guess(f"2001:db8:0:1::{number:x}")
    assert services.guess("2001:db8:0:1:ffff::1")[0] == 429
    assert services.guess("2001:db8:0:2::1")[0] == 401


NEIGHBOURS = [
    ("127.0.0.1", "127.9.9.9", True),
    ("127.0.0.1", "::1", True),
    ("::ffff:127.0.0.1", "127.0.0.1", True),
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("2001:db8::1", "2001:db8::ffff:1", True),
    ("fe80::1%eth0", "fe80::2%eth1", True),
    ("2001:db8:1::1", "2001:db8:2::1", False),
    ("a path", "another", False),
]


@pytest.mark.parametrize(("one", "other", "same"), NEIGHBOURS)
def test_addresses_of_one_network_count_as_one(one, other, same):
    assert (neighbourhood(one) == neighbourhood(other)) is same


def test_failures_are_forgotten_after_a_time_and_on_success():
    throttle = Throttle()
    for _ in range(FREE + 3):
        throttle.failed("a", 0)
    assert throttle.wait("a", 0) == 8
    assert throttle.wait("b", 0) == 0
    assert throttle.wait("a", FORGOTTEN) == 0
    throttle.failed("a", FORGOTTEN)
    assert throttle.wait("a", FORGOTTEN) == 0
    for _ in range(FREE):
        throttle.failed("a", FORGOTTEN)
    assert throttle.wait("a", FORGOTTEN) > 0
    throttle.succeeded("a")
    assert throttle.wait("a", FORGOTTEN) == 0


def test_the_record_of_failures_is_bounded_and_invented_names_evict_no_client(services):
    throttle = Throttle(3)
    for name in "abcd":
        throttle.failed(name, 0)
    assert len(throttle) == 3
    services.endpoint._unknown_clients = Throttle(3)
    for _ in range(FREE):
        services.guess()
    for number in range(50):
        services.guess(client_id=f"wkc_{number:022}")
    assert len(services.endpoint._unknown_clients) == 3
    assert services.guess()[0] == 429


def test_the_public_keys_are_served(services):
    response = services.endpoint.keys("GET")
    assert response.status == 200
    assert dict(response.headers)["cache-control"] == "public, max-age=300"
    head = services.endpoint.keys("HEAD")
    assert (head.status, head.body, head.headers) == (200, b"", response.headers)
    assert services.endpoint.keys("POST").status == 405


def test_neither_a_token_nor_a_secret_is_shown_by_repr(services):
    response = services.endpoint.respond(
        TokenRequest("POST", [("content-type", JSON)], json.dumps(services.whole()).encode(), "::1"), NOW, NOW
    )
    assert "eyJ" not in repr(response)
    request = TokenRequest("POST", [basic(services.id, services.secret)], json.dumps(services.whole()).encode(), "::1")
    assert services.secret not in repr(request)
    assert basic(services.id, services.secret)[1] not in repr(request)


def test_a_failure_after_a_long_time_counts_as_the_first_one():
    throttle = Throttle()
    for _ in range(FREE + 3):
        throttle.failed("a", 0)
    for number in range(FREE):
        assert throttle.wait("a", FORGOTTEN + number) == 0
        throttle.failed("a", FORGOTTEN)
    assert throttle.wait("a", FORGOTTEN) > 0
