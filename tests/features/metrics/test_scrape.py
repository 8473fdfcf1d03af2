"""The exposition text is built once for concurrent scrapes, in a thread, and equals the library's."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import ip_network

import pytest
from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics, generate_latest

from wirekey.core.endpoints.local_request import parse_local_request
from wirekey.features.metrics import scrape
from wirekey.features.metrics.config import Readers
from wirekey.features.metrics.scrape import METRICS_PATH, Scrape

OWN = (("host", "127.0.0.1:8090"),)


def asked(address="127.0.0.1", headers=OWN, method="GET"):
    return parse_local_request(method, METRICS_PATH, headers, address)


@pytest.fixture
def registry():
    disable_created_metrics()  # Wirekey's own have none
    made = CollectorRegistry()
    times = Histogram("times", "Some\nlines \\ more.", ["word"], registry=made)
    for number in range(300):
        times.labels(f'w"{number}').observe(number)
    Gauge("nothing_yet", "Without a series.", ["word"], registry=made)
    Gauge("one", "Of one series.", registry=made).set(7)
    return made


def test_text_written_in_pieces_equals_the_librarys(registry):
    assert scrape.written(registry) == generate_latest(registry)
    assert len(list(scrape.pieces_of(registry))) > 40


async def test_the_text_is_built_in_a_thread_after_an_update_on_the_loop(registry, monkeypatch):
    where = []
    monkeypatch.setattr(scrape, "written", lambda _: where.append(threading.current_thread()) or b"text\n")
    response = await Scrape(registry, lambda: where.append(threading.current_thread())).respond(asked())
    assert response.body == b"text\n"
    assert where[0] is threading.main_thread()
    assert where[1] is not threading.main_thread()


async def test_concurrent_scrapes_share_one_text_even_if_one_is_cancelled(registry, monkeypatch):
    made, go = [], threading.Event()

    def slowly(_):
        made.append(1)
        go.wait(60)
        return b"text\n"

    monkeypatch.setattr(scrape, "written", slowly)
    router = Scrape(registry, lambda: None)
    asking = [asyncio.ensure_future(router.respond(asked())) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    go.set()
    responses = await asyncio.gather(*asking[1:])
    assert [response.body for response in responses] == [b"text\n"] * 9
    assert made == [1]


async def test_a_text_is_reused_until_it_is_stale(registry, monkeypatch):
    made = []
    monkeypatch.setattr(scrape, "written", lambda _: made.append(1) or b"text\n")
    monkeypatch.setattr(scrape, "FRESH", 3600)
    router = Scrape(registry, lambda: None)
    for _ in range(5):
        await router.respond(asked())
    assert made == [1]
    monkeypatch.setattr(scrape, "FRESH", 0)
    monkeypatch.setattr(scrape, "REUSE_FACTOR", 0)
    router = Scrape(registry, lambda: None)
    for _ in range(5):
        await router.respond(asked())
    assert made == [1] * 6


async def test_each_failed_update_is_an_error_until_an_update_succeeds(registry):
    def look():
        if failing:
            raise RuntimeError

    failing, router = True, Scrape(registry, look)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await router.respond(asked())
    failing = False
    assert (await router.respond(asked())).status == 200


STRANGERS = [
    ("10.0.0.7", OWN),
    ("::ffff:10.0.0.7", OWN),
    ("fe80::1", OWN),
    ("127.0.0.1", (("host", "rebound.example"),)),
    ("127.0.0.1", (("host", "127.0.0.1.rebound.example:8090"),)),
    ("127.0.0.1", (("host", "10.0.0.7:8090"),)),
    ("127.0.0.1", (("host", ""),)),
    ("127.0.0.1", (*OWN, ("X-Forwarded-For", "127.0.0.1"))),
    ("127.0.0.1", (*OWN, ("forwarded", "for=127.0.0.1"))),
    ("127.0.0.1", (*OWN, ("Via", "1.1 gate"))),
    ("", OWN),
]


@pytest.mark.parametrize(("address", "headers"), STRANGERS)
def test_a_scrape_from_another_machine_is_refused_with_instructions(registry, address, headers):
    response = Scrape(registry, lambda: None).respond(asked(address, headers))
    assert response.status == 403
    assert b"on the machine itself" in response.body


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8090", "LOCALHOST", "[::1]:8090", None])
async def test_a_scrape_from_this_machine_is_allowed(registry, address, host):
    headers = (("host", host),) if host else ()
    assert (await Scrape(registry, lambda: None).respond(asked(address, headers))).status == 200


SCRAPERS = Readers((ip_network("10.1.0.0/16"), ip_network("fd00::/8")), ("wirekey.corp.example",))


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("10.1.2.3", "10.1.0.5:8090", 200),
        ("::ffff:10.1.2.3", "10.1.0.5:8090", 200),
        ("fd00::7", "[fd00::5]:8090", 200),
        ("10.1.2.3", "wirekey.corp.example:8090", 200),
        ("10.1.2.3", "WIREKEY.corp.example.", 200),
        ("127.0.0.1", "localhost:8090", 200),
        ("10.2.0.1", "10.1.0.5:8090", 403),
        ("fe80::1", "[fd00::5]:8090", 403),
        ("10.1.2.3", "rebound.example", 403),
        ("10.1.2.3", "x.wirekey.corp.example", 403),
        ("10.1.2.3", "", 403),
        ("127.0.0.1", "10.1.0.5:8090", 403),
        ("no address", "10.1.0.5:8090", 403),
    ],
)
async def test_a_scrape_from_the_configured_networks_is_allowed(registry, address, host, status):
    scrape = Scrape(registry, lambda: None, lambda: SCRAPERS)
    response = scrape.respond(asked(address, (("host", host),)))
    assert (response if status == 403 else await response).status == status


def test_a_scrape_that_a_reverse_proxy_forwards_from_the_configured_networks_is_refused(registry):
    forwarded = asked("10.1.2.3", (("host", "10.1.0.5:8090"), ("X-Forwarded-For", "10.1.2.4")))
    assert Scrape(registry, lambda: None, lambda: SCRAPERS).respond(forwarded).status == 403


def test_only_read_methods_are_allowed(registry):
    assert Scrape(registry, lambda: None).respond(asked(method="POST")).status == 405
