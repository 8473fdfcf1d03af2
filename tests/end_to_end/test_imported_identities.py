"""Tokens and client credentials that programs hold already identify their agent wherever an agent token does."""

from __future__ import annotations

import base64
import json
import secrets
import time

import httpx
import openai
import pytest
from click.testing import CliRunner
from google import genai

from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import PROVIDER_KEYS, wait_for, wirekey_behind
from tests.threats.conftest import beginning
from wirekey.cli.main import group
from wirekey.core.command_name import COMMAND
from wirekey.core.identity.throttle import FREE

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
STATIC = secrets.token_urlsafe(32)
CLIENT_SECRET = secrets.token_hex(32)
CHOSEN = "our-proxy-key-2026"
"""A token with little entropy."""
OPENAI = "api.openai.com"


def run(wirekey, *arguments, given="", code=0):
    """Run `wirekey agents` on the state of a running Wirekey."""
    file = str(wirekey.folder / "wirekey.yaml")
    done = CliRunner().invoke(group, ["agents", arguments[0], "--config", file, *arguments[1:]], input=given)
    assert done.exit_code == code, done.output
    return done


def bring(wirekey, *agents):
    return run(wirekey, "import", "-", given=json.dumps(agents))


def start(tmp_path_factory, simulator, **more):
    return wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN, **more)


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    with start(tmp_path_factory, simulator) as running:
        running.token = running.add_agent("alice")
        bring(
            running,
            {"agent": "everyone", "role": "legacy", "token": STATIC},
            {"agent": "billing", "type": "autonomous", "client_id": "billing-7d0e", "client_secret": CLIENT_SECRET},
        )
        accepted(running, STATIC)
        yield running


@pytest.fixture
def began():
    return beginning()


def accepted(wirekey, token):
    """Wait until a running Wirekey accepts a token."""
    wait_for(lambda: ask(wirekey, {"authorization": f"Bearer {token}"}).status_code == 200, "the token to be accepted")


def ask(wirekey, headers, query="", **more):
    """Send a chat completion to the gateway."""
    url = f"http://{wirekey.running.gateway}/v1/chat/completions{query}"
    return httpx.post(url, content=CHAT, headers={"content-type": "application/json", **headers}, **more)


def sent(seen, name):
    """The value of a header of a request that reached the provider."""
    (value,) = (value.decode() for other, value in seen.headers if other.decode().lower() == name)
    return value


def everything(seen):
    """All that reached the provider of a request."""
    return repr((seen.authority, seen.target, seen.headers, seen.body))


PLACES = [
    ({"authorization": "Bearer {}"}, ""),
    ({"authorization": "bearer  {}"}, ""),
    ({"x-goog-api-key": "{}"}, ""),
    ({"x-api-key": "{}"}, ""),
    ({"api-key": "{}"}, ""),
    ({}, "?key={}"),
]


@pytest.mark.parametrize(("headers", "query"), PLACES, ids=lambda place: next(iter(place), "") if place else "none")
def test_an_imported_token_is_accepted_in_the_place_of_an_api_key(wirekey, simulator, began, headers, query):
    simulator.forget()
    written = {name: value.format(STATIC) for name, value in headers.items()}
    assert ask(wirekey, written, query.format(STATIC)).status_code == 200
    event = wirekey.finished_event(began)
    assert (event["agent_id"], event["agent_role"], event["outcome"]) == ("everyone", "legacy", "completed")
    (seen,) = simulator.seen
    assert STATIC not in everything(seen)
    assert sent(seen, "authorization") == f"Bearer {PROVIDER_KEYS['openai']}"


@pytest.mark.parametrize(
    "credentials",
    [f"Basic {base64.b64encode(f'everyone:{STATIC}'.encode()).decode()}", f"Bearer {STATIC}"],
    ids=["Basic", "Bearer"],
)
def test_an_imported_token_is_accepted_by_the_proxy(wirekey, began, credentials):
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{OPENAI}:443", "", "", f"Proxy-Authorization: {credentials}").status == 200
        client.start_tls(wirekey.root, OPENAI)
        client.send(post())
        assert client.read_response().status == 200
    assert wirekey.finished_event(began)["agent_id"] == "everyone"


def test_a_wrong_name_beside_an_imported_token_is_refused(wirekey):
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{OPENAI}:443", "alice", STATIC).status == 407


def test_sdks_use_an_imported_token_as_their_key(wirekey, began):
    """One static key for everybody, as PROXY_API_KEY of an earlier proxy, is a token of an agent."""
    base = f"http://{wirekey.running.gateway}"
    client = openai.OpenAI(api_key=STATIC, base_url=base + "/v1", max_retries=0)
    assert client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]).id
    gemini = genai.Client(api_key=STATIC, http_options={"base_url": base})
    assert gemini.models.generate_content(model="gemini-2.5-flash", contents="hello").text
    assert {event["agent_id"] for event in wirekey.finished_events(2, began)} == {"everyone"}


def test_two_identities_that_differ_are_refused(wirekey):
    answer = ask(wirekey, {"authorization": f"Bearer {STATIC}", "x-api-key": wirekey.token})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "agents_disagree")


def test_an_unknown_value_is_no_identity(wirekey):
    answer = ask(wirekey, {"authorization": f"Bearer {STATIC[:-1]}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_agent")
    assert ask(wirekey, {"authorization": "Bearer placeholder-of-an-sdk", "x-api-key": STATIC}).status_code == 200


def test_an_imported_token_that_a_request_repeats_elsewhere_is_masked(wirekey, simulator, began):
    simulator.forget()
    headers = {"authorization": f"Bearer {STATIC}", "x-note": f"my token is {STATIC}", f"x-{STATIC[:20]}": "kept"}
    assert ask(wirekey, headers).status_code == 200
    answer = httpx.get(f"http://{wirekey.running.gateway}/v1/models/{STATIC}", headers={"x-api-key": STATIC})
    assert answer.status_code in (404, 200)
    assert all(STATIC not in everything(seen) for seen in simulator.seen)
    events = wirekey.finished_events(2, began)
    assert STATIC not in repr(events)
    assert STATIC not in wirekey.output.read_text()


def test_an_imported_token_of_a_tunnel_is_masked_in_the_requests_inside(wirekey, simulator):
    simulator.forget()
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{OPENAI}:443", "everyone", STATIC).status == 200
        client.start_tls(wirekey.root, OPENAI)
        client.send(post(f"X-Note: {STATIC}", f"Referer: https://x/?token={STATIC}&a=b"))
        assert client.read_response().status == 200
    (seen,) = simulator.seen
    assert STATIC not in everything(seen)
    assert sent(seen, "x-note") == "*" * len(STATIC)


def token_request(wirekey, secret, client_id="billing-7d0e", **more):
    asked = {"client_id": client_id, "client_secret": secret, "grant_type": "client_credentials"}
    return httpx.post(f"http://{wirekey.running.gateway}/api/v1/auth/token", json=asked, **more)


def test_imported_client_credentials_get_a_jwt_at_the_token_endpoint(wirekey, began):
    jwt = token_request(wirekey, CLIENT_SECRET).json()["access_token"]
    assert ask(wirekey, {"authorization": f"Bearer {jwt}"}).status_code == 200
    event = wirekey.finished_event(began)
    assert (event["agent_id"], event["agent_type"]) == ("billing", "autonomous")
    wrong = token_request(wirekey, CLIENT_SECRET + "x")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_the_secrets_are_in_no_file_and_no_log(wirekey):
    ask(wirekey, {"authorization": f"Bearer {STATIC}"})
    token_request(wirekey, CLIENT_SECRET)
    for secret in (STATIC, CLIENT_SECRET):
        shown = run(wirekey, "show", "everyone").output + run(wirekey, "list", "--json").output
        assert secret not in shown
        files = [path for path in wirekey.folder.rglob("*") if path.is_file()]
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


# Changes of an agent that is in use.


def test_a_change_is_in_effect_also_for_a_jwt_that_was_issued_before(wirekey):
    jwt = token_request(wirekey, CLIENT_SECRET).json()["access_token"]

    def role():
        """The role in the audit of a call with the JWT."""
        began = beginning()
        answer = ask(wirekey, {"authorization": f"Bearer {jwt}"})
        assert answer.status_code in (200, 503), answer.text
        return wirekey.finished_event(began)["agent_role"] if answer.status_code == 200 else None

    assert role() is None
    run(wirekey, "set", "billing", "--role", "reviewer")
    wait_for(lambda: role() == "reviewer", "the new role")


def test_a_permission_that_is_taken_is_missing_at_once(wirekey):
    jwt = token_request(wirekey, CLIENT_SECRET).json()["access_token"]
    run(wirekey, "set", "billing", "--permission", "web:read")
    wait_for(lambda: ask(wirekey, {"authorization": f"Bearer {jwt}"}).status_code == 403, "the missing permission")
    run(wirekey, "set", "billing", "--permission", "")
    wait_for(lambda: ask(wirekey, {"authorization": f"Bearer {jwt}"}).status_code == 200, "the permission")


def test_a_suspended_agent_is_refused_until_it_is_resumed_with_the_same_credentials(wirekey):
    jwt = token_request(wirekey, CLIENT_SECRET).json()["access_token"]
    for name, token in (("everyone", STATIC), ("billing", jwt)):
        run(wirekey, "set", name, "--suspended")
        refused = wait_for(lambda token=token: unaccepted(wirekey, token), "the agent to be suspended")
        assert refused.status_code == 401
        assert "suspended" in run(wirekey, "list").output
        run(wirekey, "set", name, "--no-suspended")
        accepted(wirekey, token)
    assert token_request(wirekey, CLIENT_SECRET).status_code == 200


def unaccepted(wirekey, token):
    answer = ask(wirekey, {"authorization": f"Bearer {token}"})
    return answer if answer.status_code != 200 else None


def test_set_needs_something_to_change_and_an_agent_that_exists(wirekey):
    assert "Nothing to change" in run(wirekey, "set", "alice", code=2).output
    assert "Did you mean alice?" in run(wirekey, "set", "alcie", "--role", "x", code=1).output


# Guessing.


@pytest.fixture
def guessed(tmp_path_factory, simulator):
    with start(tmp_path_factory, simulator) as running:
        running.token = running.add_agent("alice")
        done = bring(
            running,
            {"agent": "everyone", "token": CHOSEN},
            {"agent": "strong", "token": STATIC},
            {"agent": "batch", "client_id": "batch-1", "client_secret": "batch-secret-2026"},
        )
        assert "bits of entropy" in done.stderr
        assert CHOSEN not in done.output
        accepted(running, STATIC)
        yield running


def guess(wirekey, count=FREE):
    """Present wrong tokens, each on a connection of its own."""
    return [ask(wirekey, {"authorization": f"Bearer our-proxy-key-{number:04}"}) for number in range(count)]


def test_a_token_with_little_entropy_is_not_looked_up_after_wrong_ones(guessed):
    assert {answer.status_code for answer in guess(guessed)} == {401}
    right = ask(guessed, {"authorization": f"Bearer {CHOSEN}"})
    wrong = ask(guessed, {"authorization": "Bearer our-proxy-key-2027"})
    assert right.status_code == wrong.status_code == 429
    assert int(right.headers["retry-after"]) >= 1
    assert right.json()["error"]["code"] == "slow_down"
    assert ask(guessed, {"authorization": f"Bearer {STATIC}"}).status_code == 200, "it cannot be guessed"
    assert ask(guessed, {"authorization": f"Bearer {guessed.token}"}).status_code == 200
    with RawClient(guessed.running.forward) as client:
        assert client.connect(f"{OPENAI}:443", "everyone", CHOSEN).status == 407
    accepted(guessed, CHOSEN)


def test_a_connection_that_was_accepted_goes_on_during_the_wait(guessed):
    with httpx.Client() as kept:
        url = f"http://{guessed.running.gateway}/v1/chat/completions"
        headers = {"authorization": f"Bearer {CHOSEN}", "content-type": "application/json"}
        assert kept.post(url, content=CHAT, headers=headers).status_code == 200
        guess(guessed, FREE + 2)
        assert ask(guessed, headers).status_code == 429
        assert kept.post(url, content=CHAT, headers=headers).status_code == 200


def test_an_agent_cannot_try_the_tokens_of_another_faster(guessed):
    """Beside a valid identity, a right guess makes a conflict. Beyond the limit it is not looked up."""
    for number in range(FREE):
        headers = {"x-api-key": guessed.token, "authorization": f"Bearer our-proxy-key-{number:04}"}
        assert ask(guessed, headers).status_code == 200
    assert ask(guessed, {"x-api-key": guessed.token, "authorization": f"Bearer {CHOSEN}"}).status_code == 200


def test_the_same_placeholder_again_and_again_is_not_guessing(guessed):
    for _ in range(3 * FREE):
        headers = {"x-api-key": guessed.token, "authorization": "Bearer placeholder-of-an-sdk"}
        assert ask(guessed, headers).status_code == 200
    assert ask(guessed, {"authorization": f"Bearer {CHOSEN}"}).status_code == 200


def test_an_imported_secret_with_little_entropy_waits_at_the_token_endpoint(guessed):
    for number in range(FREE):
        assert token_request(guessed, f"batch-secret-{number:04}", "batch-1").status_code == 401
    began = time.monotonic()
    right = token_request(guessed, "batch-secret-2026", "batch-1")
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) >= 1
    wait_for(lambda: token_request(guessed, "batch-secret-2026", "batch-1").status_code == 200, "the wait to end")
    assert time.monotonic() > began


# The key of the provider comes from the client.


def test_an_imported_token_is_not_passed_through_as_the_provider_key(tmp_path_factory, simulator):
    providers = {"openai": {"upstream_url": simulator.url, "key_source": "passthrough"}}
    with start(tmp_path_factory, simulator, providers=providers) as running:
        bring(running, {"agent": "everyone", "token": STATIC})
        wait_for(
            lambda: ask(running, {"x-api-key": STATIC}).json()["error"]["code"] == "no_client_key", "the imported token"
        )
        simulator.forget()
        refused = ask(running, {"authorization": f"Bearer {STATIC}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "no_client_key")
        assert not simulator.seen
        headers = {"authorization": f"Bearer {PROVIDER_KEYS['openai']}", "x-api-key": STATIC}
        assert ask(running, headers).status_code == 200
        (seen,) = simulator.seen
        assert sent(seen, "authorization") == f"Bearer {PROVIDER_KEYS['openai']}"


# Nobody needs an identity.


def test_an_open_gateway_warns_at_the_start_and_on_the_console(tmp_path_factory, simulator):
    with start(tmp_path_factory, simulator, identity={"required": False}) as running:
        began = beginning()
        assert ask(running, {}).status_code == 200
        event = running.finished_event(began)
        assert (event["agent_id"], event["agent_role"], event["outcome"]) == (None, None, "completed")
        assert running.output.read_text().count("EVERYBODY MAY CALL: identity.required is false") >= 1


def test_exec_of_an_unknown_agent_says_how_to_add_it(wirekey):
    file = str(wirekey.folder / "wirekey.yaml")
    done = CliRunner().invoke(group, ["exec", "--config", file, "--agent", "carol", "--", "true"])
    assert done.exit_code == 1
    assert "There is no agent 'carol'." in done.stderr
    assert f"To add it: {COMMAND} agents add carol" in done.stderr
