"""No SDK takes a stream that was cut for a whole one: whatever cuts it, and wherever, it raises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from mistralai.client.errors import ResponseValidationError

from tests.support.load import now
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind
from tests.support.sdk_calls import CLAUDE, Way
from tests.support.stream_formats import PLACEHOLDERS, SDK_STREAMS

IDLE = "The provider sent nothing for 2 s (timeouts.idle)."
OF_THE_ROUTE = "The provider sent nothing for 1 s (timeouts.idle)."
IN_ALL = "The call took longer than its route allows (2 s)."
MODELS = ("gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5", CLAUDE, "mistral-large-latest", "codestral-latest")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    yield from started(tmp_path_factory.mktemp("wirekey"), simulator)


@pytest.fixture(scope="module")
def routed(tmp_path_factory, simulator):
    """A Wirekey with limits of its own for each model."""
    routes = [{"match": model, "timeouts": {"idle": 1, "total": 2}} for model in MODELS]
    yield from started(tmp_path_factory.mktemp("routed"), simulator, routes=routes)


def started(folder, simulator, **more):
    settings = behind(simulator, timeouts={"first_byte": 10, "idle": 2}, **more)
    running = Wirekey(folder, settings, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    yield running
    running.stop()


@dataclass
class Taken:
    """Return how many events an SDK read of a stream, and what it raised then, or None if it took it for complete."""

    events: int = 0
    error: Exception | None = None


def by_each_sdk(proxy, simulator, monkeypatch, behaviour: str) -> dict[str, Taken]:
    """Read a stream that ends so with every SDK at once."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.proxy_url("alice", proxy.token))
    simulator.simulator.script.clear()
    simulator.simulator.script.add(behaviour, len(SDK_STREAMS))

    def take(name: str) -> Taken:
        found = Taken()
        try:
            for _ in SDK_STREAMS[name](Way(proxy.certs / "bundle.pem", PLACEHOLDERS), monkeypatch):
                found.events += 1
        except Exception as error:  # each SDK has its own
            found.error = error
        return found

    with ThreadPoolExecutor(len(SDK_STREAMS)) as pool:
        return dict(zip(SDK_STREAMS, pool.map(take, SDK_STREAMS), strict=True))


def words_of(error: Exception | None) -> str:
    """Return what an SDK raised, with the whole event that Mistral's SDK shortens in the text of its error."""
    return str(error.cause.errors()) if isinstance(error, ResponseValidationError) else str(error)


def ended(proxy, began: str) -> set[tuple]:
    return {(event["outcome"], event["status"]) for event in proxy.finished_events(len(SDK_STREAMS), began)}


def test_a_time_limit_ends_a_stream_with_the_providers_own_error(proxy, simulator, monkeypatch):
    began = now()
    for name, found in by_each_sdk(proxy, simulator, monkeypatch, "stall-after=3").items():
        assert IDLE in words_of(found.error), (name, found)
        assert found.events >= 2, (name, found)
    assert ended(proxy, began) == {("timeout", 200)}


@pytest.mark.parametrize(("behaviour", "words"), [("stall-after=3", OF_THE_ROUTE), ("events=1000, pace=0.02", IN_ALL)])
def test_the_time_limits_of_a_route_end_a_stream_too(behaviour, words, routed, simulator, monkeypatch):
    began = now()
    for name, found in by_each_sdk(routed, simulator, monkeypatch, behaviour).items():
        assert words in words_of(found.error), (name, found)
        assert found.events >= 2, (name, found)
    assert ended(routed, began) == {("timeout", 200)}


@pytest.mark.parametrize("fault", ["reset-after=3", "truncate-after=3", "reset-after=3, cut", "stall-after=3, cut"])
def test_a_stream_that_ends_or_stalls_within_an_event_makes_the_sdk_raise(fault, proxy, simulator, monkeypatch):
    began = now()
    for name, found in by_each_sdk(proxy, simulator, monkeypatch, fault).items():
        assert found.error, f"{name} took what was cut for a whole answer"
        assert found.events >= 1, (name, found)
    assert ended(proxy, began) == {("timeout" if "stall" in fault else "upstream_reset", 200)}
