"""Batches that one machine makes and several read, with a state that they share, and without one."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.features.batches.programs import Program, chat, openai_batch, settlements
from tests.support.redis_server import RedisServer
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for
from wirekey.features.batches.store import made_key
from wirekey.features.redis.client import PREFIX

QUOTAS = [{"name": "dollars", "per": "agent", "usd_per_day": 1000}]
READERS = 6


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory, simulator, redis):
    running = []
    for name in ("first", "second"):
        configuration = behind(simulator, quotas=QUOTAS, shared_state="env:STATE", replica=name)
        folder = tmp_path_factory.mktemp(name)
        running.append(Wirekey(folder, configuration, environ=KEY_ENVIRONMENT | {"STATE": redis.url}))
    yield running
    for each in running:
        each.stop()


class Everywhere:
    """An agent that both replicas know, by the same token."""

    def __init__(self, replicas: list[Wirekey]) -> None:
        self.here = Program(replicas[0])
        (replicas[1].state).mkdir(exist_ok=True)
        shutil.copy(replicas[0].state / "agents.json", replicas[1].state / "agents.json")
        self.there = Program.__new__(Program)
        self.there.proxy, self.there.gateway, self.there.url = replicas[1], False, ""
        self.there.agent, self.there.token = self.here.agent, self.here.token


def all_settlements(replicas: list[Wirekey], agent: str) -> list[dict]:
    return [event for replica in replicas for event in settlements(replica, agent)]


def is_shared(redis: RedisServer, name: str) -> bool:
    """Whether all replicas know the batch of an id, or of the name of a file of results."""
    return redis.ask("EXISTS", PREFIX + made_key("openai", name)) == b":1\r\n"


def output_of(client: openai.OpenAI, batch: str) -> str:
    return client.batches.retrieve(batch).output_file_id


def test_a_batch_that_is_read_at_once_on_two_replicas_is_charged_once(replicas):
    agent = Everywhere(replicas)
    batch = openai_batch(agent.here.openai(), {"a": chat(), "b": chat()})
    clients = [(agent.here, agent.there)[number % 2].openai() for number in range(READERS)]

    def retrieved():
        try:
            return output_of(clients[1], batch)
        except openai.AuthenticationError:
            return None  # the other replica has not read its agents yet

    output = wait_for(retrieved, "the agent on the other replica")
    with ThreadPoolExecutor(READERS) as threads:
        read = list(threads.map(lambda client: client.files.content(output).text, clients))
    assert len(set(read)) == 1
    events = wait_for(lambda: all_settlements(replicas, agent.here.agent), "the settlement")
    assert len(events) == 1
    spent = wait_for(lambda: agent.here.spent() + agent.there.spent(), "the charge")
    assert spent == pytest.approx(events[0]["cost_usd"], abs=2e-9)


def test_a_response_that_names_a_batch_or_its_results_ends_when_all_replicas_know_them(replicas, redis):
    client = Everywhere(replicas).here.openai()
    for _ in range(READERS):
        batch = openai_batch(client, {"a": chat()})
        assert is_shared(redis, batch)
        assert is_shared(redis, output_of(client, batch))
    assert not is_shared(redis, "batch_of_nobody")


def test_another_replica_settles_what_it_has_not_made(replicas):
    agent = Everywhere(replicas)
    batch = openai_batch(agent.here.openai(), {"a": chat()})

    def read():
        try:
            client = agent.there.openai()
            return client.files.content(output_of(client, batch)).text
        except openai.AuthenticationError:
            return None

    result = json.loads(wait_for(read, "the agent on the other replica"))
    (event,) = wait_for(lambda: settlements(replicas[1], agent.here.agent), "the settlement")
    assert event["replica"] == "second"
    assert event["input_tokens"] == result["response"]["body"]["usage"]["prompt_tokens"]


def test_without_the_server_a_batch_is_settled_by_a_later_reading(replicas, redis):
    agent = Everywhere(replicas)
    client = agent.here.openai()
    batch = openai_batch(client, {"a": chat()})
    output = output_of(client, batch)
    redis.process.send_signal(signal.SIGSTOP)
    try:
        assert client.files.content(output).text
        warned = "is not remembered or not settled"
        wait_for(lambda: warned in replicas[0].output.read_text(), "the warning")
    finally:
        redis.process.send_signal(signal.SIGCONT)
    assert all_settlements(replicas, agent.here.agent) == []

    def settled():
        client.files.content(output)
        return all_settlements(replicas, agent.here.agent)

    assert len(wait_for(settled, "the settlement")) == 1
