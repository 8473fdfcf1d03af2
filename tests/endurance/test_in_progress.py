"""Failures and changes while Wirekey runs: it reports them, keeps what worked, and continues after a repair."""

from __future__ import annotations

import json
import resource
import threading

import pytest

from tests.support.load import chat, now, tunnel
from tests.support.raw_client import RawClient
from tests.support.running import PATIENCE, behind, wait_for, wirekey_behind

OPENAI = "api.openai.com"


@pytest.fixture
def proxy(tmp_path, simulator):
    simulator.forget()
    with wirekey_behind(
        tmp_path, simulator, listen={"forward": "127.0.0.1:0", "gateway": None, "console": None}
    ) as running:
        running.token = running.add_agent("alice")
        yield running
        assert running.process.poll() is None
        assert "Traceback" not in running.output.read_text()


def status(proxy, model: str = "gpt-4o-mini") -> int:
    with tunnel(proxy, proxy.token) as client:
        client.send(chat(model))
        return client.read_response().status


def wait_for_words(proxy, words: str) -> None:
    wait_for(lambda: words in proxy.output.read_text(), f"the log to say: {words}")


def write(proxy, simulator, **more) -> None:
    settings = {
        "state": str(proxy.state),
        "certs": str(proxy.certs),
        "listen": {"forward": "127.0.0.1:0", "gateway": None, "console": None},
    }
    settings["log"] = {"format": "json", "level": "debug"}
    (proxy.folder / "wirekey.yaml").write_text(json.dumps(behind(simulator, **settings) | more))


def test_a_broken_agents_file_leaves_the_agents_as_they_were(proxy):
    assert status(proxy) == 200
    file = proxy.state / "agents.json"
    good = file.read_bytes()
    file.write_text("{")
    wait_for_words(proxy, "agents.json is not a valid list of agents")
    assert status(proxy) == 200
    file.write_bytes(good)
    proxy.agents.revoke("alice")
    wait_for(lambda: refuses(proxy), "the agent to be out")


def refuses(proxy) -> bool:
    with RawClient(proxy.running.forward) as client:
        return client.connect(f"{OPENAI}:443", "alice", proxy.token).status == 407


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("providers: [", "wirekey.yaml:1: "),
        ("stat: x", "wirekey.yaml:1: stat: is not a setting. Did you mean state?"),
        ("audit: {store: 'mysql://db/x'}", "audit.store: must be sqlite:///PATH, postgresql://USER@HOST/DATABASE"),
        ("providers: {openai: {keys: [env:NO_SUCH_KEY]}}", "providers.openai.keys[0]: env:NO_SUCH_KEY"),
    ],
)
def test_a_bad_configuration_is_not_used_and_the_previous_one_stays(proxy, simulator, text, words):
    (proxy.folder / "wirekey.yaml").write_text(text)
    wait_for_words(proxy, "The changed configuration is not used, the previous one stays in use")
    assert words in proxy.output.read_text()
    assert status(proxy) == 200
    write(proxy, simulator, limits={"body_bytes": 10})
    wait_for_words(proxy, "The changed configuration is in use")
    assert status(proxy) == 413


def test_a_reload_under_load_loses_no_call(proxy, simulator, tmp_path):
    """Policies that are judged on the event loop and by children in turn, so that all that can be exchanged is."""
    policies = []
    for number, rule in enumerate(("false", "some t in input.tools; some u in input.tools; t != u")):
        policies.append(tmp_path / f"policy{number}")
        policies[-1].mkdir()
        text = f"package wirekey.authz\ndefault allow := true\ndeny if {{ {rule} }}\n"
        (policies[-1] / "a.rego").write_text(text)
    answers, stop = [], threading.Event()

    def call_on():
        while not stop.is_set():
            with tunnel(proxy, proxy.token) as client:
                for _ in range(10):
                    client.send(chat("gpt-4o-mini"))
                    answers.append(client.read_response().status)

    threads = [threading.Thread(target=call_on) for _ in range(4)]
    began = now()
    for thread in threads:
        thread.start()
    try:
        for number in range(4):
            write(proxy, simulator, policy={"path": str(policies[number % 2])}, limits={"headers": 50 + number})
            wait_for(lambda: times_in_use(proxy) == number + 1, "the change to count")  # noqa: B023
            enough = len(answers) + 20
            wait_for(lambda: len(answers) >= enough, "calls to go on")  # noqa: B023
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert set(answers) == {200}
    events = proxy.finished_events(len(answers), began)
    assert len(events) == len(answers)
    assert {event["outcome"] for event in events} == {"completed"}
    assert len({event["policy_revision"] for event in events}) == 3


def times_in_use(proxy) -> int:
    return proxy.output.read_text().count("The changed configuration is in use")


def test_settings_that_need_a_restart_are_named(proxy, simulator):
    write(proxy, simulator, listen={"forward": "127.0.0.1:1"}, log={"level": "error"})
    wait_for_words(proxy, "take effect only after a restart: listen, log")
    assert status(proxy) == 200


def test_hosts_that_the_ca_does_not_cover_are_named(proxy, simulator):
    settings = behind(simulator)
    settings["providers"]["bedrock"]["regions"] = ["us-east-1", "eu-west-3"]
    write(proxy, simulator, providers=settings["providers"])
    wait_for_words(proxy, "The CA does not cover bedrock-runtime.eu-west-3.amazonaws.com")
    assert "wirekey ca renew" in proxy.output.read_text()


def test_a_change_made_while_it_starts_is_not_missed(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator) as proxy:
        proxy.token = proxy.add_agent("alice")
        write(proxy, simulator, limits={"body_bytes": 10})
        wait_for(lambda: status(proxy) == 413, "the change to count")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of a running process")
def test_a_full_disk_refuses_calls_until_there_is_room(proxy, simulator):
    """No file of the process can grow: what a full disk is to it."""
    assert status(proxy, "before") == 200
    proxy.finished_events(1)
    limits = resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    simulator.forget()
    with tunnel(proxy, proxy.token) as client:
        client.send(chat("while full"))
        answer = client.read_response()
    assert answer.status == 503
    assert "could not be recorded, so it was not sent" in answer.message
    assert not simulator.seen
    resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, limits)
    wait_for(lambda: status(proxy, "after") == 200, "calls to be recorded again")
    wait_for(lambda: {"before", "after"} <= {event["requested_model"] for event in proxy.finished_events(2)}, "records")


def test_an_audit_file_that_is_moved_away_refuses_calls_until_it_is_back(proxy, simulator):
    assert status(proxy) == 200
    file = proxy.state / "audit.db"
    file.rename(proxy.state / "elsewhere.db")
    simulator.forget()
    began = now()
    assert status(proxy) == 503
    assert not simulator.seen
    (proxy.state / "elsewhere.db").rename(file)
    wait_for(lambda: status(proxy) == 200, "calls to be recorded again")
    assert proxy.finished_events(1, began)


def test_a_key_removed_from_the_configuration_is_no_longer_used(proxy, simulator):
    settings = behind(simulator)
    del settings["providers"]["openai"]["keys"]
    write(proxy, simulator, providers=settings["providers"])
    wait_for_words(proxy, "The changed configuration is in use")
    with tunnel(proxy, proxy.token) as client:
        client.send(chat("gpt-4o-mini"))
        answer = client.read_response()
    assert answer.status == 503
    assert "OPENAI_API_KEY" in answer.message
