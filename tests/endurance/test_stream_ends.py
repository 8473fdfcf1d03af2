"""No SDK takes a stream that was cut for a whole one: whatever cuts it, and wherever, it raises."""

from __future__ import annotations

import pytest

from tests.end_to_end.sdk_calls import CLAUDE, Way
from tests.end_to_end.stream_formats import PLACEHOLDERS, SDK_STREAMS
from tests.endurance.load import now
from tests.running import KEY_ENVIRONMENT, Wirekey, behind

IDLE = "The provider sent nothing for 2 s (timeouts.idle)."
OF_THE_ROUTE = "The provider sent nothing for 1 s (timeouts.idle)."
IN_ALL = "The call took longer than its route allows in all (2 s)."
MODELS = ("gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5", CLAUDE)


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


def taken(proxy, simulator, monkeypatch, name: str, behaviour: str) -> tuple[int, Exception, dict]:
    """Give how many events an SDK gave of a stream that ends so, what it raised then, and the record."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.proxy_url("alice", proxy.token))
    simulator.simulator.script.clear()
    simulator.simulator.script.add(behaviour)
    began, count = now(), 0
    try:
        for _ in SDK_STREAMS[name](Way(proxy.certs / "bundle.pem", PLACEHOLDERS), monkeypatch):
            count += 1
    except Exception as error:  # each SDK has its own
        return count, error, proxy.finished_event(began)
    raise AssertionError(f"{name} took what was cut for a whole answer")


@pytest.mark.parametrize("name", SDK_STREAMS)
def test_a_limit_of_time_ends_a_stream_with_the_providers_own_error(name, proxy, simulator, monkeypatch):
    count, error, event = taken(proxy, simulator, monkeypatch, name, "stall-after=3")
    assert count >= 2
    assert IDLE in str(error)
    assert (event["outcome"], event["status"]) == ("timeout", 200)


@pytest.mark.parametrize(("behaviour", "words"), [("stall-after=3", OF_THE_ROUTE), ("events=1000, pace=0.02", IN_ALL)])
@pytest.mark.parametrize("name", SDK_STREAMS)
def test_so_do_the_limits_of_a_route(name, behaviour, words, routed, simulator, monkeypatch):  # noqa: PLR0917  # a table
    count, error, event = taken(routed, simulator, monkeypatch, name, behaviour)
    assert count >= 2
    assert words in str(error)
    assert (event["outcome"], event["status"], event["route"][:7]) == ("timeout", 200, "routes[")


@pytest.mark.parametrize("fault", ["reset-after=3", "truncate-after=3", "reset-after=3, cut", "stall-after=3, cut"])
@pytest.mark.parametrize("name", SDK_STREAMS)
def test_a_stream_that_breaks_off_or_stops_within_an_event_makes_the_sdk_raise(
    name, fault, proxy, simulator, monkeypatch
):
    count, _, event = taken(proxy, simulator, monkeypatch, name, fault)
    assert count >= 1
    assert (event["outcome"], event["status"]) == ("timeout" if "stall" in fault else "upstream_reset", 200)
