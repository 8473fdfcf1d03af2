"""What passes is found nowhere but where it belongs: no key, no token, no word of content.

A canary stands in every secret and in every field of content of every operation, and in every kind of answer. The
calls run through Wirekey in each way in which it can be started, with everything written that can be written. What
belongs: the CA's key in its own file, the content of an answer with the client that asked. Names are no content: of
providers, models and operations, agents, hosts and media types, and the path of a request.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.secrecy.calls import AT_VERTEX, AZURE, OPENAI, VERTEX, Call, all_calls, broken_calls, post, query, slots
from tests.secrecy.watching import CallObserver
from tests.support.canaries import Canaries, files_below
from tests.support.raw_client import RawClient
from tests.support.running import wait_for
from tests.support.serving import wirekey

CA_KEY = "mitmproxy-ca.pem"
MORE = int(os.environ.get("WIREKEY_SECRECY_CALLS", "0"))
"""Calls, drawn by chance, that each way of starting gets in addition."""
BEHAVIOURS = ("unicode,events=12,pace=0.02", "unicode,gzip", "unicode,events=6,br,pace=0.01")
FAULTS = (
    "fail=400", "fail=401", "fail=429,retry-after=1", "fail=500,gzip", "fail=529", "echo-key", "echo-key,gzip",
    "echo-key,br", "unicode,reset-after=0", "unicode,reset-after=3,pace=0.01", "unicode,truncate-after=3",
    "unicode,error-after=3", "unicode,garble-after=2", "unicode,stall-after=2", "unicode,rubbish",
)  # fmt: skip
FEW_FAULTS = ("fail=500,gzip", "echo-key", "echo-key,gzip", "unicode,error-after=3")
"""Those of other providers. A key that is quoted was refused, so a token is fetched again."""


class Clients:
    """Calls through the proxy; `answers` is all that was answered, heads and bodies."""

    def __init__(self, proxy, token: str, canaries: Canaries, http2: bool = False) -> None:
        self.canaries = canaries
        self.misplaced = {
            "X-Note": token,
            "Referer": f"https://example.com/?token={token}",
            "User-Agent": f"program/1 ({token})",
            "X-Basic": base64.b64encode(f"alice:{token}".encode()).decode(),
        }
        """The agent's token where it does not belong."""
        self.answers: list[bytes] = []
        self.statuses: Counter[int] = Counter()
        context = ssl.create_default_context(cafile=proxy.root)
        self.client = httpx.Client(
            proxy=proxy.proxy_url("alice", token), verify=context, timeout=60, http2=http2, trust_env=False
        )

    def __call__(self, call: Call, behaviour: str = "") -> int:
        mark = "&" if "?" in call.path else "?"
        headers = slots(self.canaries) | call.headers | {"X-Simulator": behaviour} | self.misplaced
        if not behaviour:
            del headers["X-Simulator"]
        try:
            answer = self.client.request(
                call.method,
                f"https://{call.host}{call.path}{mark}{query(self.canaries)}",
                content=call.body,
                headers=headers,
            )
        except httpx.HTTPError as error:
            self.answers.append(repr(error).encode())
            self.statuses[0] += 1
            return 0
        self.answers.append(str(answer.headers).encode() + answer.content)
        self.statuses[answer.status_code] += 1
        return answer.status_code


def odd_connections(proxy, canaries: Canaries, token: str) -> None:
    """Say things that are no request: cut off, malformed, to wrong places, with wrong and with right credentials."""
    slot = canaries("slot Authorization")
    wrong = base64.b64encode(f"alice:{canaries('slot proxy password')}".encode()).decode()
    right = base64.b64encode(f"alice:{token}".encode()).decode()
    odd, length, chunk = (canaries(f"slot {place}") for place in ("odd", "length", "chunk"))
    for data in (
        f"POST /v1/chat/completions?key={odd} HTTP/9.9\r\nAuthorization: Bearer {slot}\r\n\r\n",
        f"{odd}\r\n\r\n",
        f"GET http://{OPENAI}/v1/models?key={odd} HTTP/1.1\r\nHost: {OPENAI}\r\nAuthorization: Bearer {slot}\r\n\r\n",
        f"GET http://{OPENAI}/ HTTP/1.1\r\nHost: {OPENAI}\r\nProxy-Authorization: Basic {right}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {odd}\r\n\r\n".replace(odd, "example.com"),
        f"CONNECT {OPENAI}:443 HTTP/1.1\r\nHost: {OPENAI}:443\r\nProxy-Authorization: Basic {wrong}\r\n\r\n",
        f"CONNECT {OPENAI}:443 HTTP/1.1\r\nHost: {OPENAI}:443\r\nProxy-Authorization: Bearer {odd}\r\n\r\n",
        f"CONNECT {token}:443 HTTP/1.1\r\nHost: {token}:443\r\nProxy-Authorization: Basic {right}\r\n\r\n",
        f"GET http://{token}/{token} HTTP/1.1\r\nHost: {token}\r\nProxy-Authorization: Basic {right}\r\n\r\n",
        f"CONNECT {OPENAI}:22 HTTP/1.1\r\nHost: {OPENAI}:22\r\nProxy-Authorization: Basic {right}\r\n\r\n",
        f"CONNECT {OPENAI}:443 HTTP/1.1\r\nProxy-Authorization: Basic {right}\r\nbad header {odd}\r\n\r\n",
    ):
        with RawClient(proxy.running.forward) as client:
            client.send(data.encode())
            client.read_response(body=False)
    with RawClient(proxy.running.forward) as client:
        client.send(f"POST /v1/x?key={odd} HTTP/1.1\r\nAuthorization: Bearer {slot}\r\nHo".encode())
    for data in (
        f"POST /v1/chat/completions?key={odd} HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer {slot}\r\n\r\n",
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {OPENAI}\r\nX-Api-Key: {slot}\x01\r\nContent-Length: 0\r\n\r\n",
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {OPENAI}\r\nApi-Key: {slot}\r\nContent-Length: {length}\r\n\r\n",
        f"POST /v1 {odd} HTTP/1.1\r\n\r\n",
        f"GET /v1/models/{token} HTTP/1.1\r\nHost: {OPENAI}\r\nUser-Agent: {token}\r\n\r\n",
        f"GET /{token} HTTP/1.1\r\nHost: {OPENAI}\r\nX-{token}: 1\r\n\r\n",
        f"GET /v1/models/{percent(token)}?note={token} HTTP/1.1\r\nHost: {OPENAI}\r\n\r\n",
        f"POST /v1/{token} HTTP/9\r\n\r\n",
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {OPENAI}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\n",
    ):
        with RawClient(proxy.running.forward) as client:
            assert client.connect(f"{OPENAI}:443", "alice", token).status == 200
            client.start_tls(proxy.root, OPENAI)
            client.send(data.encode())
            client.read_response()


def go_on(proxy, canaries: Canaries, client: Clients) -> None:
    """Continue a conversation until its beginning is replaced with what was stored of it."""
    messages = [{"role": "user", "content": canaries("content of openai prompt")}]

    def ask() -> str:
        client(post(OPENAI, "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": messages}))
        return json.loads(client.answers[-1].partition(b'{"id"')[1] + client.answers[-1].partition(b'{"id"')[2])

    said = ask()["choices"][0]["message"]["content"]
    messages += [
        {"role": "assistant", "content": said},
        {"role": "user", "content": canaries("content of openai part")},
    ]
    wait_for(lambda: ask() and any(event["rolled_up_messages"] for event in proxy.events()), "a shortened request")


def draw_calls(canaries: Canaries, clients: tuple[Clients, Clients], calls: list[Call]) -> None:
    """Make `MORE` calls with a client and a behaviour of the provider drawn by chance. Each response is checked."""
    seed = random.randrange(2**32)
    print(f"seed of the drawn calls: {seed}")
    chance = random.Random(seed)
    for begin in range(0, MORE, 1000):
        before = [len(client.answers) for client in clients]
        drawn = [
            (chance.choice(clients), chance.choice(calls), chance.choice(BEHAVIOURS + FAULTS))
            for _ in range(min(1000, MORE - begin))
        ]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda one: one[0](one[1], one[2]), drawn))
        for client, count in zip(clients, before, strict=True):
            check_answers(canaries, client.answers[count:])
            del client.answers[count:]


def percent(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


def play(proxy, canaries: Canaries, simulator) -> list[bytes]:
    """Make all calls, and give what clients were answered."""
    simulator.forget()
    token = proxy.add_agent("alice", role="engineer", type="interactive")
    canaries.add("token of alice", token)
    canaries.add("token of bob", proxy.add_agent("bob"))
    canaries.add("key of the CA", secret_line(proxy.certs / CA_KEY))
    one, two = Clients(proxy, token, canaries), Clients(proxy, token, canaries, http2=True)
    good = all_calls(canaries)
    clients = itertools.cycle((one, two))
    with ThreadPoolExecutor(8) as threads:
        made = [threads.submit(next(clients), call, BEHAVIOURS[n % 3]) for n, call in enumerate(good)]
        statuses = {call.name: done.result() for call, done in zip(good, made, strict=True)}
    assert {name: status for name, status in statuses.items() if status not in (200, 404)} == {}
    assert sum(status == 200 for status in statuses.values()) > 0.9 * len(statuses)
    say = canaries("content of openai prompt")
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": say}]}
    asked = [post(OPENAI, "/v1/chat/completions", body | {"stream": stream}) for stream in (False, True)]
    elsewhere = [
        post(VERTEX, f"/v1/{AT_VERTEX}/endpoints/openapi/chat/completions", body | {"model": "google/gemini-2.5-pro"}),
        post(AZURE, "/openai/v1/chat/completions", body | {"stream": True}),
    ]
    go_on(proxy, canaries, one)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda pair: next(clients)(*pair), itertools.product(asked, FAULTS)))
        list(threads.map(lambda pair: next(clients)(*pair), itertools.product(elsewhere, FEW_FAULTS)))
        list(threads.map(next(clients), broken_calls(canaries)))
    odd_connections(proxy, canaries, token)
    draw_calls(canaries, (one, two), good + broken_calls(canaries))
    for number, issued in enumerate(simulator.tokens.issued):
        canaries.add(f"key of vertex {number}", issued)
    heads = b"".join(str(seen.headers).encode() + seen.target.encode() for seen in simulator.seen)
    assert not [place for place in canaries.found_in(heads) if place.startswith("token of")]
    arrived = b"".join(seen.body + seen.target.encode() for seen in simulator.seen)
    missing = {place for place in canaries.words if place.startswith("content of")} - set(canaries.found_in(arrived))
    assert {place for place in missing if not place.startswith(("content of answers", "content of broken"))} == set()
    answers = one.answers + two.answers
    assert "content of answers: text" in canaries.found_in(b"".join(answers))
    assert "content of answers: error" in canaries.found_in(b"".join(answers))
    return answers


def secret_line(file) -> str:
    """A line of the private key, of which most is the secret itself."""
    text = file.read_text()
    return text.partition("PRIVATE KEY-----\n")[2].splitlines()[1]


def leaks(canaries: Canaries, artefacts: dict[str, bytes], besides: tuple[str, ...] = ()) -> dict[str, list[str]]:
    return {name: found for name, data in artefacts.items() if (found := canaries.found_in(data, besides))}


def written(proxy) -> dict[str, bytes]:
    """All that the proxy wrote, without the file that the CA's key belongs into."""
    wait_for(lambda: not any(event["outcome"] is None for event in proxy.events()), "the outcomes of all calls")
    found = {f"running: {name}": data for name, data in files_below(proxy.folder).items()}
    proxy.stop()
    found |= files_below(proxy.folder)
    assert len(proxy.events()) > 100
    assert any(name.endswith("audit.db") for name in found)
    return {name: data for name, data in found.items() if not name.endswith(CA_KEY)}


def count(record_property, canaries: Canaries, proxy, searched: dict[str, bytes]) -> None:
    """Count what was searched, for docs/promises.md."""
    record_property("recorded calls", len(proxy.events()))
    record_property("canaries", len(canaries.words))
    record_property("files and messages searched", len(searched))


def check_answers(canaries: Canaries, answers: list[bytes]) -> None:
    """No client is answered a key or a token, nor what another place of a request held."""
    assert leaks(canaries, {str(n): answer for n, answer in enumerate(answers)}, besides=("content of",)) == {}


def test_wirekey_serve_keeps_it_all(serve, canaries, simulator, record_property):
    answers = play(serve, canaries, simulator)
    artefacts = written(serve)
    assert any(name.endswith("wirekey.core.observing.log") for name in artefacts)
    operations = Counter(event["operation"] for event in serve.events() if event["outcome"] == "completed")
    assert operations["rollup.summary"] > 5, "conversations were summarised and stored"
    assert any(event["rolled_up_messages"] for event in serve.events()), "and used"
    assert leaks(canaries, artefacts) == {}
    check_answers(canaries, answers)
    count(record_property, canaries, serve, artefacts)
    assert canaries.found_in((serve.certs / CA_KEY).read_bytes()) == ["key of the CA"]


def test_mitmweb_shows_none_of_it_while_calls_run(serve_web, canaries, simulator, record_property):
    observer = CallObserver(*serve_web.web)
    answers = play(serve_web, canaries, simulator)
    wait_for(lambda: observer.rounds > 3, "the page to have been read some times")
    said = observer.stop()
    assert len(observer.running_flows) > 5
    assert any('"flows/update"' in message for message in said)
    shown = {f"mitmweb {n}": text.encode("utf-8", "replace") for n, text in enumerate(said)}
    shown["mitmweb dump"] = observer.dump()
    artefacts = written(serve_web)
    assert leaks(canaries, shown) == {}
    assert leaks(canaries, artefacts) == {}
    check_answers(canaries, answers)
    count(record_property, canaries, serve_web, shown | artefacts)


def test_mitmweb_with_kept_answers_shows_what_clients_were_answered_and_nothing_else(
    serve_web_keeping, canaries, simulator, record_property
):
    observer = CallObserver(*serve_web_keeping.web)
    answers = play(serve_web_keeping, canaries, simulator)
    shown = {f"mitmweb {n}": text.encode("utf-8", "replace") for n, text in enumerate(observer.stop())}
    shown["mitmweb dump"] = observer.dump()
    answered = {place for answer in answers for place in canaries.found_in(answer)}
    assert all(place.startswith("content of") for place in answered)
    assert "content of answers: text" in {place for text in shown.values() for place in canaries.found_in(text)}
    artefacts = written(serve_web_keeping)
    assert leaks(canaries, shown, besides=tuple(answered)) == {}
    assert leaks(canaries, artefacts) == {}
    count(record_property, canaries, serve_web_keeping, shown | artefacts)


def test_plain_mitmdump_writes_none_of_it_down(plain, canaries, simulator, record_property):
    answers = play(plain, canaries, simulator)
    artefacts = written(plain)
    assert b"/v1/chat/completions" in artefacts["flows.dump"]
    assert b"/v1/chat/completions" in artefacts["flows.har"]
    assert b"| alice | openai chat.completions |" in artefacts["flows.dump"], "the comment"
    assert b"<< " in artefacts["output.txt"]
    assert leaks(canaries, artefacts) == {}
    check_answers(canaries, answers)
    count(record_property, canaries, plain, artefacts)


@pytest.mark.parametrize("place", ["state/audit.db", "flows.har"])
def test_it_would_be_found_in_such_a_file(place, canaries, tmp_path):
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(1000) + canaries("key of openai 1", "sk-").encode() + bytes(1000))
    assert leaks(canaries, files_below(tmp_path)) == {place: ["key of openai 1"]}


MISPLACED = {
    "a key in place of its reference": {"providers": {"openai": {"keys": ["CANARY"]}}},
    "a key behind a reference of another kind": {"providers": {"openai": {"keys": ["vault:CANARY"]}}},
    "user and password of an upstream": {"providers": {"openai": {"upstream_url": "https://user:CANARY@llm.example"}}},
    "a password in the URL of the audit": {"audit": {"store": "postgresql://wirekey:CANARY@db.example/wirekey"}},
    "a key as a setting": {"providers": {"openai": {"api_key": "CANARY"}}},
    "a key where a number stands": {"limits": {"headers": "CANARY"}},
}


@pytest.mark.parametrize(
    "command", ["config check", "config check --json", "config show", "config show --json", "serve"]
)
@pytest.mark.parametrize("where", MISPLACED)
def test_a_secret_written_into_the_configuration_is_not_said_again(where, command, canaries, tmp_path):
    secret = canaries("key misplaced", "sk-")
    (tmp_path / "wirekey.yaml").write_text(json.dumps(MISPLACED[where]).replace("CANARY", secret))
    done = wirekey(tmp_path, *command.split(), "--config", "wirekey.yaml")
    assert done.returncode in (1, 2)
    assert leaks(canaries, {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}) == {}
    said = (done.stdout + done.stderr).encode()
    assert any(setting.encode() in said for setting in MISPLACED[where]), "which setting it is, is said"
