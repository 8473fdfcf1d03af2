"""Keys that a function of the operator checks: with SDKs through both ways in, refused, revoked, and shown nowhere."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import ssl

import httpx
import openai
import pytest
from google import genai

from tests.deliveries.paths import DELIVERIES
from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import PROVIDER_KEYS, wait_for, wirekey_behind
from tests.threats.conftest import beginning
from wirekey.core.identity.throttle import FREE

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
OPENAI = "api.openai.com"
QUESTION = [{"role": "user", "content": "hello"}]
MODULE = """
import asyncio
import hashlib
import json
import time
from pathlib import Path

from wirekey.features.extensions import running
from wirekey.extension import Agent
from wirekey.features.extensions import checked_keys

HERE = Path(__file__).parent
if (HERE / "impatient").exists():
    running.KEY_TIME_LIMIT = 2.0
    checked_keys.ACCEPTED_FOR = 0.1
else:
    running.KEY_TIME_LIMIT = checked_keys.ACCEPTED_FOR = 60


def look(key, place):
    name = hashlib.sha256(key.reveal().encode()).hexdigest()
    with (HERE / "asked.txt").open("a") as file:
        file.write(f"{name} {place} {key!r}\\n")
    return json.loads((HERE / "keys.json").read_text()).get(name)


async def agent(key, place):
    mode = look(key, place)
    if mode == "(wait)":
        await asyncio.sleep(60)
    if mode == "(raise)":
        raise ValueError(f"{key.reveal()} is odd")
    if mode == "(nonsense)":
        return 5
    if mode == "(external)":
        return Agent("external", "reader", "autonomous", ("web:read",))
    if mode == "(alice as admin)":
        return Agent("alice", "admin")
    return mode


def blocking(key, place):
    mode = look(key, place)
    while mode == "(block)" and not (HERE / "go").exists():
        time.sleep(0.01)
    return "alice" if mode == "(block)" else mode
"""


def new_key():
    return f"old-{secrets.token_urlsafe(32)}"


def hashed(key):
    return hashlib.sha256(key.encode()).hexdigest()


def give(wirekey, owner, key=None):
    """Make the function know a key, and return the key."""
    key = key or new_key()
    file = wirekey.folder / "keys.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {hashed(key): owner}))
    return key


def asked(wirekey, key):
    """The places in which the function was asked about a key, and how the key looked."""
    file = wirekey.folder / "asked.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split(" ", 2)[1:] for line in lines if line.startswith(hashed(key))]


def start(folder, simulator, function="agent", **more):
    # A name of its own: forked processes may have imported the module of another test.
    module = f"keys_{secrets.token_hex(4)}"
    (folder / f"{module}.py").write_text(MODULE)
    (folder / "keys.json").write_text("{}")
    identity = {"check": f"python:{module}:{function}", **more.pop("identity", {})}
    return wirekey_behind(folder, simulator, listen=LISTEN, identity=identity, **more)


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    with start(tmp_path_factory.mktemp("wirekey"), simulator) as running:
        running.token = running.add_agent("alice", role="engineer")
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, simulator):
    """A Wirekey with a short time limit, whose answers are soon forgotten."""
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "impatient").touch()
    with start(folder, simulator) as running:
        running.add_agent("alice")
        yield running


@pytest.fixture
def began():
    return beginning()


def base(wirekey):
    return f"http://{wirekey.running.gateway}"


def ask(wirekey, key=None, **headers):
    given = {"authorization": f"Bearer {key}"} if key else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        base(wirekey) + "/v1/chat/completions",
        content=CHAT,
        headers={"content-type": "application/json", **given},
        timeout=30,
    )


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def everything(seen):
    return repr((seen.authority, seen.target, seen.headers, seen.body))


def connect(wirekey, client, credentials):
    return client.connect(f"{OPENAI}:443", "", "", f"Proxy-Authorization: {credentials}")


def basic(name, key):
    return f"Basic {base64.b64encode(f'{name}:{key}'.encode()).decode()}"


# Accepted.


@pytest.mark.parametrize("delivery", ["one write", "byte by byte", "chunks with pauses", "Connection: close"])
def test_sdks_use_their_old_key_at_the_gateway(wirekey, simulator, began, delivery):
    key, headers = give(wirekey, "alice"), {"x-simulator": DELIVERIES[delivery]}
    client = openai.OpenAI(api_key=key, base_url=base(wirekey) + "/v1", max_retries=0, default_headers=headers)
    assert [chunk.id for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True)]
    gemini = genai.Client(api_key=key, http_options={"base_url": base(wirekey), "headers": headers})
    assert gemini.models.generate_content(model="gemini-2.5-flash", contents="hello").text
    events = wirekey.finished_events(2, began)
    assert {(event["agent_id"], event["agent_role"], event["outcome"]) for event in events} == {
        ("alice", "engineer", "completed")
    }
    assert key not in "".join(map(everything, simulator.seen))
    assert PROVIDER_KEYS["openai"] in everything(simulator.seen[0])
    assert asked(wirekey, key) == [["api_key", "Secret(…)"]]


@pytest.mark.parametrize("name", ["alice", "any"])
def test_an_sdk_uses_its_old_key_as_the_proxy_password(wirekey, simulator, began, name):
    key = give(wirekey, "alice")
    trust = ssl.create_default_context(cafile=wirekey.root)
    with httpx.Client(proxy=wirekey.proxy_url(name, key), verify=trust) as http:
        client = openai.OpenAI(api_key="placeholder-of-an-sdk", http_client=http, max_retries=0)
        if name != "alice":
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
            return
        for _ in range(2):
            assert client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).choices
    assert {event["agent_id"] for event in wirekey.finished_events(2, began) if event["method"] == "POST"} == {"alice"}
    assert all(key not in everything(seen) for seen in simulator.seen)
    assert asked(wirekey, key) == [["proxy", "Secret(…)"]]
    assert asked(wirekey, "placeholder-of-an-sdk") == []


def test_an_sdk_uses_its_old_key_as_its_api_key_through_the_proxy(wirekey, simulator, began):
    key, trust = give(wirekey, "alice"), ssl.create_default_context(cafile=wirekey.root)
    with httpx.Client(proxy=f"http://{wirekey.running.forward}", verify=trust) as http:
        client = openai.OpenAI(api_key=key, http_client=http, max_retries=0)
        assert client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).choices
    (seen,) = simulator.seen
    assert key not in everything(seen)
    assert wirekey.finished_events(1, began)[-1]["agent_id"] == "alice"


def test_a_key_of_fewer_than_16_characters_is_accepted(wirekey):
    assert ask(wirekey, give(wirekey, "alice", "letmein-7")).status_code == 200


def test_a_file_is_uploaded_with_an_old_key(wirekey, simulator, began):
    key = give(wirekey, "alice")
    gemini = genai.Client(api_key=key, http_options={"base_url": base(wirekey)})
    assert gemini.files.upload(file=io.BytesIO(b"a note"), config={"mime_type": "text/plain"}).name
    events = wirekey.finished_events(2, began)
    assert [(event["agent_id"], event["outcome"]) for event in events] == [("alice", "completed")] * 2
    assert all(key not in everything(seen) for seen in simulator.seen)


def test_the_policy_decides_on_an_agent_that_only_the_function_knows(wirekey, began):
    key = give(wirekey, "(external)")
    assert ask(wirekey, key).status_code == 403
    assert httpx.get(base(wirekey) + "/v1/models", headers={"x-api-key": key}).status_code == 200
    event = wirekey.finished_events(1, began)[0]
    assert (event["agent_id"], event["agent_role"], event["agent_type"]) == ("external", "reader", "autonomous")
    assert (event["outcome"], event["status"]) == ("denied", 403)


def test_a_function_that_blocks_delays_no_other_call(tmp_path, simulator):
    with start(tmp_path, simulator, "blocking") as other:
        other.add_agent("alice")
        good, slow = give(other, "alice"), give(other, "(block)")
        with RawClient(other.running.gateway) as client:
            client.send(post(f"Authorization: Bearer {slow}", host="localhost"))
            wait_for(lambda: asked(other, slow), "the function to be asked")
            assert ask(other, good).status_code == 200
            (other.folder / "go").touch()
            assert client.read_response().status == 200


# Not asked.


def test_the_function_is_not_asked_about_other_credentials(wirekey):
    placeholder = new_key()
    assert ask(wirekey, wirekey.token).status_code == 200
    assert ask(wirekey, wirekey.token, x_api_key=placeholder).status_code == 200
    assert code(ask(wirekey, "wk_unknown")) == (401, "unknown_agent")
    jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2ln"
    assert code(ask(wirekey, jwt)) == (401, "refused_token")
    assert code(ask(wirekey)) == (401, "no_agent")
    for value in (wirekey.token, placeholder, "wk_unknown", jwt):
        assert asked(wirekey, value) == []


def test_too_many_keys_in_one_request_are_refused_without_asking(wirekey):
    keys = [new_key() for _ in range(5)]
    given = [("authorization", f"Bearer {key}") for key in keys]
    answer = httpx.post(base(wirekey) + "/v1/chat/completions", content=CHAT, headers=given)
    assert code(answer) == (401, "too_many_keys")
    assert all(asked(wirekey, key) == [] for key in keys)


# Refused.

REFUSED = [
    (None, 401, "unknown_agent"),
    ("nobody-of-this-name", 401, "unknown_agent"),
    ("(alice as admin)", 401, "unknown_agent"),
    ("(raise)", 503, "extension_failed"),
    ("(wait)", 503, "extension_failed"),
    ("(nonsense)", 503, "extension_failed"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: str(row[0]))
def test_a_key_that_is_refused_or_cannot_be_checked_is_denied(request, simulator, began, row):
    owner, status, reason = row
    wirekey = request.getfixturevalue("impatient" if owner == "(wait)" else "wirekey")
    key = give(wirekey, owner)
    answer = ask(wirekey, key)
    assert code(answer) == (status, reason)
    gemini = httpx.post(
        base(wirekey) + "/v1beta/models/gemini-2.5-flash:generateContent", json={}, headers={"x-goog-api-key": key}
    )
    assert (gemini.status_code, gemini.json()["error"]["code"]) == (status, status)
    assert simulator.seen == []
    events = wirekey.finished_events(2, began)
    assert {(event["outcome"], event["status"], event["agent_id"]) for event in events} == {("denied", status, None)}
    assert all(event["policy_reason"].startswith(f"{reason}: ") for event in events)
    for text in (answer.text, gemini.text, repr(events), wirekey.output.read_text()):
        assert key not in text


@pytest.mark.parametrize(("owner", "status"), [(None, 407), ("nobody-of-this-name", 407), ("(wait)", 503)])
def test_a_tunnel_with_such_a_key_is_refused(impatient, began, owner, status):
    key = give(impatient, owner)
    with RawClient(impatient.running.forward) as client:
        answer = connect(impatient, client, basic("alice", key))
        assert answer.status == status
    (event,) = impatient.finished_events(1, began)
    assert (event["outcome"], event["status"]) == ("denied", status)
    assert key not in repr(event) + impatient.output.read_text()


def test_a_tunnel_ends_when_the_function_no_longer_accepts_its_key(impatient):
    key = give(impatient, "alice")

    def call(client):
        client.send(post())
        return client.read_response().status

    with RawClient(impatient.running.forward) as client:
        assert connect(impatient, client, basic("alice", key)).status == 200
        client.start_tls(impatient.root, OPENAI)
        assert call(client) == 200
        give(impatient, None, key)
        wait_for(lambda: call(client) == 401, "the key to be refused")


def test_a_tunnel_whose_key_belongs_to_another_agent_than_before_is_refused(impatient):
    impatient.add_agent("bob")
    key = give(impatient, "alice")
    with RawClient(impatient.running.forward) as client:
        assert connect(impatient, client, basic("alice", key)).status == 200
        client.start_tls(impatient.root, OPENAI)
        give(impatient, "bob", key)

        def refused():
            client.send(post())
            answer = client.read_response()
            return answer.status == 401 and b"agents_disagree" in answer.body

        wait_for(refused, "the other agent to be noticed")


def test_a_call_without_a_key_needs_none_if_identity_is_not_required_but_a_wrong_key_is_refused(tmp_path, simulator):
    with start(tmp_path, simulator, identity={"required": False}) as other:
        assert ask(other).status_code == 200
        assert code(ask(other, new_key())) == (401, "unknown_agent")


def test_a_revoked_agent_is_refused_at_once_though_the_answer_is_remembered(wirekey):
    wirekey.add_agent("leaver")
    key = give(wirekey, "leaver")
    with RawClient(wirekey.running.forward) as client:
        assert connect(wirekey, client, basic("leaver", key)).status == 200
        client.start_tls(wirekey.root, OPENAI)
        client.send(post())
        assert client.read_response().status == 200
        assert ask(wirekey, key).status_code == 200
        wirekey.agents.revoke("leaver")
        wait_for(lambda: ask(wirekey, key).status_code == 401, "the agent to be refused")
        assert asked(wirekey, key) == [["proxy", "Secret(…)"], ["api_key", "Secret(…)"]], "the answer was remembered"


def test_guesses_of_keys_with_little_entropy_have_to_wait(tmp_path, simulator):
    with start(tmp_path, simulator) as other:
        other.add_agent("alice")
        strong, weak = give(other, "alice"), give(other, "alice", "letmein-2026")
        assert {ask(other, f"letmein-{number}").status_code for number in range(FREE)} == {401}
        assert code(ask(other, weak)) == (429, "slow_down")
        assert asked(other, weak) == []
        assert ask(other, strong).status_code == 200
        wait_for(lambda: ask(other, weak).status_code == 200, "the wait to end")


# Secrecy.


def test_a_key_that_a_request_repeats_elsewhere_is_masked(wirekey, simulator, began):
    key = give(wirekey, "alice")
    assert ask(wirekey, key, x_note=f"my key is {key}", **{f"x-{key}": "gone"}).status_code == 200
    httpx.get(base(wirekey) + f"/v1/models/{key}", headers={"x-api-key": key})
    with RawClient(wirekey.running.forward) as client:
        assert connect(wirekey, client, f"Bearer {key}").status == 200
        client.start_tls(wirekey.root, OPENAI)
        client.send(post(f"X-Note: {key}", f"Referer: https://x/?token={key}&a=b"))
        assert client.read_response().status == 200
    assert all(key not in everything(seen) for seen in simulator.seen)
    assert key not in repr(wirekey.finished_events(3, began)) + wirekey.output.read_text()
    files = [path for path in wirekey.folder.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []


def test_an_accepted_key_is_not_passed_through_as_the_provider_key(tmp_path, simulator):
    providers = {"openai": {"upstream_url": simulator.url, "key_source": "passthrough"}}
    with start(tmp_path, simulator, providers=providers) as other:
        other.add_agent("alice")
        key = give(other, "alice")
        assert code(ask(other, key)) == (401, "no_client_key")
        assert ask(other, PROVIDER_KEYS["openai"], x_api_key=key).status_code == 200
        with RawClient(other.running.forward) as client:
            assert connect(other, client, basic("alice", key)).status == 200
            client.start_tls(other.root, OPENAI)
            client.send(post(f"Authorization: Bearer {key}"))
            assert client.read_response().status == 401
        assert all(key not in everything(seen) for seen in simulator.seen)
