"""Workers and replicas know what the others learned: cool-downs, used signatures, uploads and sessions."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from tests.support.aws_signing import REAL, ask, signed, written
from tests.support.fork_server import PATIENT_WITH_REDIS
from tests.support.load import chat
from tests.support.raw_client import RawClient, post
from tests.support.redis_server import RedisServer
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind, wait_for
from tests.support.steady_load import gateway_chat

SECOND = PROVIDER_KEYS["openai"] + "-2"
LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()} | {"openai": [PROVIDER_KEYS["openai"], SECOND]}
    pair = {REAL[0]: REAL[1]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys, aws_credentials=pair)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory, simulator, redis_server):
    """Two machines with the same agents, and with two keys of OpenAI."""
    configuration = behind(
        simulator,
        listen=LISTENERS,
        shared_state=redis_server.url,
        failover={"max_attempts": 1},
    )
    configuration["providers"]["openai"] |= {"keys": ["env:REAL_OPENAI", "env:SECOND"], "selection": "session-affinity"}
    configuration["providers"]["bedrock"]["aws"] = {"access_key": "env:REAL_ID", "secret_key": "env:REAL_SECRET"}
    environ = {**KEY_ENVIRONMENT, "SECOND": SECOND}
    environ |= {"REAL_ID": REAL[0], "REAL_SECRET": REAL[1], **PATIENT_WITH_REDIS}
    folder = tmp_path_factory.mktemp("replicas")
    first = Wirekey(folder / "first", configuration, environ=environ)
    first.token = first.add_agent("alice", role="engineer")
    first.pair = first.agents.pair("alice")
    second = Wirekey(folder / "second", configuration, environ=environ)
    for name in ("aws-master.key", "agents.json"):
        shutil.copy(first.state / name, second.state / name)
    second.token, second.pair = first.token, first.pair
    yield first, second
    first.stop()
    second.stop()


def call(proxy, model: str):
    body = json.loads(chat(model).partition(b"\r\n\r\n")[2])
    with RawClient(proxy.running.gateway) as client:
        head = post(f"Authorization: Bearer {proxy.token}", host="localhost", body=json.dumps(body).encode())
        client.send(head)
        return client.read_response()


def credential(proxy, model: str) -> str:
    """Return the key of the last call of a model, once it is recorded."""

    def found():
        events = [event for event in proxy.events() if event["requested_model"] == model]
        return events and events[-1]["outcome"] and events[-1]["credential"]

    return wait_for(found, "the record")


def test_a_session_keeps_its_key_at_another_replica(replicas, redis_server):
    first, second = replicas
    assert call(first, "one").status == 200
    used = credential(first, "one")
    wait_for(lambda: redis_server.ask("KEYS", "{wirekey}:session:*") != b"*0\r\n", "the key of the session")
    for number in range(3):
        assert call(second, f"two-{number}").status == 200
        assert credential(second, f"two-{number}") == used


def test_a_key_that_cools_down_at_one_replica_does_so_at_the_other(replicas):
    first, second = replicas
    assert call(first, "before").status == call(second, "before").status == 200
    used = credential(second, "before")
    assert call(first, "sim-fail-401").status == 401
    assert credential(first, "sim-fail-401") == used
    numbers = iter(range(1000))

    def uses_the_other_key() -> bool:
        model = f"after-{next(numbers)}"
        assert call(second, model).status == 200
        return credential(second, model) != used

    wait_for(uses_the_other_key, "the cool-down to reach the other replica")


def test_a_signature_is_good_once_in_all_replicas(replicas):
    first, second = replicas
    request = written(signed(first))
    assert ask(first, request).status == 200
    response = ask(second, request)
    assert response.status == 403
    assert "used before" in response.message


def test_an_upload_goes_on_at_another_replica(replicas, redis_server):
    first, second = replicas
    begin = post(
        f"x-goog-api-key: {first.token}",
        "x-goog-upload-protocol: resumable",
        "x-goog-upload-command: start",
        "x-goog-upload-header-content-type: text/plain",
        path="/upload/v1beta/files",
        host="localhost",
        body=b"",
        content_type=None,
    )
    with RawClient(first.running.gateway) as client:
        client.send(begin)
        response = client.read_response()
        assert response.status == 200, response
    path = "/" + response.headers["x-goog-upload-url"].split("/", 3)[3]
    # The owner is written while the response is on its way.
    wait_for(lambda: redis_server.ask("KEYS", "{wirekey}:upload:*") != b"*0\r\n", "the owner of the upload")
    with RawClient(second.running.gateway) as client:
        content = b"forty-two bytes of an upload, counted well"
        lines = ("x-goog-upload-command: upload, finalize", "x-goog-upload-offset: 0")
        client.send(post(*lines, path=path, host="localhost", body=content, content_type=None))
        response = client.read_response()
    assert response.status == 200, response
    with RawClient(second.running.gateway) as client:
        client.send(
            post(
                *lines,
                path=path.replace("upload_id=", "upload_id=x"),
                host="localhost",
                body=content,
                content_type=None,
            )
        )
        assert client.read_response().status in (401, 403)


def test_an_agent_that_is_revoked_at_one_replica_is_refused_at_the_other_also_in_open_connections(replicas):
    """The limit of two seconds is that of the intervals: this machine may be busy."""
    first, second = replicas
    first.add_agent("leaver")
    token = second.add_agent("leaver")
    with RawClient(second.running.gateway) as client, RawClient(second.running.gateway) as idle:
        idle.send(gateway_chat(token, "before"))
        assert idle.read_response().status == 200
        client.send(gateway_chat(token, "sim-stall-after-1", stream=True))
        wait_for(lambda: [event for event in second.events() if event["requested_model"] == "sim-stall-after-1"], "it")
        first.agents.revoke("leaver")
        client.read_response()
        assert outcome(second, "sim-stall-after-1") == "interrupted"
        idle.send(gateway_chat(token, "after"))
        assert idle.read_response().status == 401
    assert second.agents.agent("leaver").revoked_at == first.agents.agent("leaver").revoked_at
    assert second.agents.agent("alice").is_active


def test_an_agent_that_is_suspended_at_one_replica_is_refused_at_the_other_until_it_is_resumed_anywhere(replicas):
    first, second = replicas
    first.add_agent("pauser")
    token = second.add_agent("pauser")

    def status() -> int:
        with RawClient(second.running.gateway) as client:
            client.send(gateway_chat(token, "of-pauser"))
            return client.read_response().status

    assert status() == 200
    with RawClient(second.running.gateway) as client:
        client.send(gateway_chat(token, "sim-stall-after-1", stream=True))
        first.agents.change("pauser", suspended=True)
        assert b"agent_revoked" in client.read_response().body
    assert status() == 401
    first.agents.change("pauser", suspended=False)
    wait_for(lambda: status() == 200, "the agent to be resumed")


def outcome(proxy, model: str) -> str:
    """Return the outcome of the call of a model, once it has one."""
    return wait_for(
        lambda: next((event["outcome"] for event in proxy.events() if event["requested_model"] == model), None),
        "the outcome",
    )


@pytest.mark.parametrize(("failure", "status"), [("local", 200), ("refuse", 503)])
def test_calls_while_redis_does_not_respond_are_as_configured_and_none_hangs(tmp_path, simulator, failure, status):
    server = RedisServer(tmp_path)
    configuration = behind(
        simulator, listen=LISTENERS, shared_state=server.url, shared_state_failure=failure, failover={"max_attempts": 1}
    )
    configuration["providers"]["bedrock"]["aws"] = {"access_key": "env:REAL_ID", "secret_key": "env:REAL_SECRET"}
    environ = {**KEY_ENVIRONMENT, "REAL_ID": REAL[0], "REAL_SECRET": REAL[1]}
    server.stop()
    proxy = Wirekey(tmp_path / "wirekey", configuration, environ=environ)
    server.start()
    try:
        assert "Wirekey starts nevertheless" in proxy.output.read_text()
        proxy.token = proxy.add_agent("alice", role="engineer")
        proxy.pair = proxy.agents.pair("alice")
        wait_for(lambda: ask(proxy, written(signed(proxy))).status == 200, "Redis to respond")
        for stop, start in (
            (lambda: server.process.send_signal(signal.SIGSTOP), lambda: server.process.send_signal(signal.SIGCONT)),
            (server.stop, server.start),
        ):
            stop()
            for _ in range(4):
                response = ask(proxy, written(signed(proxy)))
                assert response.status == status, response
                if status == 503:
                    assert response.headers["x-amzn-errortype"].startswith("ServiceUnavailable")
            assert call(proxy, "not signed").status == 200, "this call needs nothing of the others"
            start()
            wait_for(lambda: ask(proxy, written(signed(proxy))).status == 200, "Redis to respond again")
    finally:
        proxy.stop()
        server.process.send_signal(signal.SIGCONT)
        server.stop()
