"""Notices to receivers that accept, fail, hang, close and redirect, and of processes that share a state."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.features.quotas.making import usd
from tests.features.quotas.receiver import SECRET, Receiver
from tests.support.redis_server import RedisServer
from wirekey.core.egress.http_client import HttpError
from wirekey.core.egress.upstream_proxy import UpstreamProxy, no_proxy_for
from wirekey.core.secret import Secret
from wirekey.core.shared_state import MemoryState
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.quotas import notifying
from wirekey.features.quotas.definition import Applied, Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.quotas.limits import budget_limits
from wirekey.features.quotas.notifying import Notifier
from wirekey.features.quotas.thresholds import ReachedShare
from wirekey.features.quotas.webhook import Webhook, send
from wirekey.features.redis.state import RedisState

QUICK = (0.01, 0.01)
QUOTA = Quota("q", "agent", usd_per_month=usd(1), warn_at=(0.5, 1.0))


@pytest.fixture
def receiver_of():
    """Returns a function that starts a receiver."""
    started = []

    def start(*behaviours: int | str) -> Receiver:
        started.append(Receiver(*behaviours))
        return started[-1]

    yield start
    for receiver in started:
        receiver.stop()


def notifier(url: str, state=None, pauses: tuple[float, ...] = QUICK) -> Notifier:
    webhook, state = Webhook(f"{url}/hook?of=me", Secret(SECRET)), state or MemoryState()
    return Notifier(lambda _: webhook, lambda: state, no_proxy_for, pauses)


def reached(share: float = 0.5) -> ReachedShare:
    [limit] = budget_limits([Applied(QUOTA, "alice")], Use(1, 1), time.time())
    return ReachedShare(limit, share, usd(share))


@pytest.mark.parametrize(
    ("behaviours", "attempts", "failure"),
    [
        ((), 1, None),
        ((500, "close"), 3, None),
        ((500, 503, 500), 3, "it responds with status 500"),
        (("close", "close", "close"), 3, "its response cannot be read (RemoteProtocolError)"),
        ((302, 307, 308), 3, "it responds with status 308"),
    ],
)
async def test_a_notice_is_sent_until_it_is_accepted_and_a_failure_is_logged(
    receiver_of, caplog, behaviours, attempts, failure
):
    receiver = receiver_of(*behaviours)
    sender = notifier(receiver.url)
    with caplog.at_level(logging.INFO):
        sender.notify(reached())
        await sender.finish()
    assert len(receiver.received) == attempts
    assert all(each.is_signed and each.path == "/hook?of=me" for each in receiver.received)
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.received}) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    sentence = f"The notice that 50 % of the quota q is spent is not sent to {receiver.url} (notify): {failure}"
    assert warnings == ([sentence] if failure else [])
    assert not any(text in caplog.text for text in (SECRET, SECRET.removeprefix("whsec_"), "/hook", "of=me"))


async def test_a_receiver_that_hangs_blocks_nothing_and_is_given_up_at_the_end(receiver_of, caplog, monkeypatch):
    monkeypatch.setattr(notifying, "ENDING", 0.1)
    monkeypatch.setattr(notifying, "MOST_WAITING", 5)
    hanging, working = receiver_of(*["hang"] * 10), receiver_of()
    urls = {"hanging": hanging.url, "working": working.url}
    webhooks = {name: Webhook(url, Secret(SECRET)) for name, url in urls.items()}
    current = {"name": "hanging"}
    sender = Notifier(lambda _: webhooks[current["name"]], MemoryState, no_proxy_for, QUICK)
    began = time.monotonic()
    for _ in range(4):
        sender.notify(reached())
    assert time.monotonic() - began < 1
    while len(hanging.received) < notifying.AT_ONCE:
        await asyncio.sleep(0.01)
    current["name"] = "working"
    sender.notify(reached())
    while not working.received:
        await asyncio.sleep(0.01)
    current["name"] = "hanging"
    for _ in range(20):
        sender.notify(reached())
    assert "5 other notices wait" in caplog.text
    await sender.finish()
    assert len(hanging.received) == notifying.AT_ONCE
    assert caplog.text.count("Wirekey stops") >= 4


async def test_a_busy_loop_delays_a_notice_and_does_not_lose_it(receiver_of):
    receiver = receiver_of()
    sender = notifier(receiver.url)
    sender.notify(reached())
    for _ in range(5):
        await asyncio.sleep(0)
        time.sleep(0.05)
    await sender.finish()
    assert len(receiver.received) == 1


async def test_a_notice_is_given_up_after_some_time(receiver_of, caplog, monkeypatch):
    monkeypatch.setattr(notifying, "PATIENCE", 0.2)
    receiver = receiver_of("hang")
    sender = notifier(receiver.url)
    sender.notify(reached())
    await sender.finish()
    assert "it is not accepted within 0.2 s" in caplog.text


@pytest.mark.parametrize("url", ["http://metadata.google.internal", "https://169.254.169.254", "https://224.0.0.1"])
async def test_addresses_that_no_receiver_has_are_refused(caplog, monkeypatch, url):
    monkeypatch.setattr("wirekey.features.quotas.webhook.resolve", lambda *_: ("169.254.169.254",))
    sender = notifier(url)
    sender.notify(reached())
    await sender.finish()
    assert "resolves to a " in caplog.text


async def test_a_raised_limit_has_notices_of_its_own(receiver_of):
    receiver = receiver_of()
    state = MemoryState()
    service, sender = QuotaEnforcer(lambda: state), notifier(receiver.url)
    service.warnings.notify = sender.notify
    for allowed in (1, 1, 2):
        quota = Quota("q", "agent", usd_per_month=usd(allowed), warn_at=(0.5,))
        hold = Hold(f"{allowed}/{time.monotonic_ns()}", (Applied(quota, "alice"),), "gpt-5", Use(0, usd(0.5)))
        await (service.acquire(hold) or asyncio.sleep(0))
        service.settle(hold, Use(0, usd(0.5)))
    await sender.finish()
    assert [each.notice["data"]["allowed"] for each in receiver.received] == [1.0, 2.0]


# Processes that share a state.


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_processes_that_share_a_state_send_each_share_once(kind, request, tmp_path, receiver_of):
    receiver = receiver_of()
    server = request.getfixturevalue("redis_server") if kind == "redis" else None
    processes = []
    for number in range(3):
        state = RedisState(Secret(server.url), 5.0) if server else SqliteState(tmp_path / "shared.db")
        await state.start()
        service = QuotaEnforcer(lambda state=state: state, Ledger(tmp_path / f"quotas-{number}.db"))
        sender = notifier(receiver.url, state)
        service.warnings.notify = sender.notify
        processes.append((service, sender, state))

    async def spend(number: int, amount: float) -> None:
        service, sender, _ = processes[number % 3]
        hold = Hold(f"{number}/1", (Applied(QUOTA, "alice"),), "gpt-5", Use(0, usd(amount)))
        await service.acquire(hold)
        service.settle(hold, Use(0, usd(amount)))
        await service.finish()
        await sender.finish()

    for number in range(9):
        await spend(number, 0.11)
    assert [each.notice["data"]["share"] for each in receiver.received] == [0.5]
    await spend(9, 0.11)
    await spend(10, 0.0)
    assert [each.notice["type"] for each in receiver.received] == ["quota.warning", "quota.exhausted"]
    for service, _, state in processes:
        await state.close()
        service.close()


def test_the_certificate_of_a_receiver_is_verified_with_the_configured_ca(simulator):
    webhook = Webhook(f"{simulator.url}/hook", Secret(SECRET))
    with pytest.raises(HttpError, match="its certificate is not trusted"):
        send(webhook, "msg_1", b"{}", None, no_proxy_for)
    with pytest.raises(HttpError, match="it responds with status 4"):
        send(webhook, "msg_1", b"{}", simulator.ca_file, no_proxy_for)


def test_a_receiver_is_reached_through_the_upstream_proxy():
    asked = []

    def proxy_for(host: str, port: int) -> UpstreamProxy:
        asked.append((host, port))
        return UpstreamProxy("127.0.0.1", 9)

    with pytest.raises(HttpError, match="it cannot be reached"):
        send(Webhook("https://10.1.2.3/hook", Secret(SECRET)), "msg_1", b"{}", None, proxy_for)
    assert asked == [("10.1.2.3", 443)]
