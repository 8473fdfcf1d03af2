"""What the console's pages cost: python -m tests.benchmarks.pages [--rounds N]

In each round the same calls go through one Wirekey with no page open, and with twenty that follow. Prints the CPU of
the proxy in both, and the ratio. Calls come as fast as one client process can make them; the cost of the feed alone
at 1000 calls a second, in one process and without the proxy, follows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks import load, proxies
from tests.benchmarks.load import Target
from tests.support.running import EVERYTHING, SimulatorThread, wirekey_behind
from wirekey.config import HostPort
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.endpoints.server import Server
from wirekey.features.console import operator_token
from wirekey.features.console.config import PageAccess
from wirekey.features.console.feed import LINGERS, Feed
from wirekey.features.console.live import LivePage
from wirekey.features.console.recorded import Recorded
from wirekey.features.console.sessions import SignInSessions

PAGES = 20
REQUESTS = 6000
CONNECTIONS = 16


async def follow(url: str, cookie: str, opened: asyncio.Semaphore) -> None:
    """Read the feed as a page does, and drop it."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client,
        client.stream("GET", "/console/events", headers={"cookie": cookie}) as answer,
    ):
        opened.release()
        async for _ in answer.aiter_raw():
            pass


async def readers(url: str, cookie: str) -> None:
    """The twenty pages, in a process of their own."""
    opened = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(follow(url, cookie, opened)) for _ in range(PAGES)]
    for _ in tasks:
        await opened.acquire()
    print("open", flush=True)
    await asyncio.gather(*tasks)


def measured(pid: int, target: Target) -> tuple[float, float]:
    """Return CPU seconds of the proxy and calls a second."""
    before = proxies.cpu_seconds(pid)
    seconds = asyncio.run(load.plain(target, CONNECTIONS, REQUESTS))
    return proxies.cpu_seconds(pid) - before, REQUESTS / seconds


def through_a_proxy(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulator = SimulatorThread(folder / "simulator")
        listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
        log = {"level": "warning"}
        policy = {"path": str(EVERYTHING)}
        with wirekey_behind(folder / "wirekey", simulator, listen=listen, log=log, policy=policy) as proxy:
            token = proxy.add_agent("bench")
            target = Target(proxy.running.port, "api.openai.com", 443, str(proxy.root), token)
            url = f"http://{proxy.running.console}"
            key = operator_token.read(proxy.state).reveal()
            answer = httpx.post(f"{url}/console/sign-in", json={"key": key}, trust_env=False)
            cookie = answer.headers["set-cookie"].partition(";")[0]
            measured(proxy.process.pid, target)
            ratios = []
            for turn in range(rounds):
                if turn:
                    time.sleep(LINGERS + 1)  # until the feed rests
                alone, rate = measured(proxy.process.pid, target)
                command = [sys.executable, "-m", "tests.benchmarks.pages", "--follow", url]
                environment = {**os.environ, "FOLLOW_COOKIE": cookie}
                pages = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
                assert pages.stdout.readline() == b"open\n"
                watched, rate_watched = measured(proxy.process.pid, target)
                pages.kill()
                pages.wait()
                ratios.append(watched / alone)
                print(
                    f"{alone * 1000 / REQUESTS:6.3f} ms CPU a call without pages ({rate:.0f} calls/s), "
                    f"{watched * 1000 / REQUESTS:6.3f} ms with {PAGES} ({rate_watched:.0f} calls/s): "
                    f"ratio {ratios[-1]:.3f}"
                )
            print(f"median ratio {statistics.median(ratios):.3f}")
        simulator.stop()


class Bare:
    """The services that the page shows."""

    def access(self) -> PageAccess:
        return PageAccess(sign_in="loopback")

    async def state(self) -> dict:
        return {}


async def feed_alone(pages: int, folder: Path, seconds: float = 8.0) -> float:
    """Return the CPU seconds of a second in which 1000 calls begin and end before that many pages, on real sockets.

    The pages are another process. What makes the calls is in it: take the difference to no page.
    """
    feed = Feed()
    page = LivePage(
        Bare(), feed, SignInSessions(operator_token.ReloadedToken(folder)), Recorded(SqliteAudit(folder / "audit.db"))
    )
    server = Server(HostPort("127.0.0.1", 0), page.routes())
    server.open()
    command = [sys.executable, "-m", "tests.benchmarks.pages", "--follow", f"http://{server.address}"]
    environment = {**os.environ, "FOLLOW_COOKIE": "none=none"}
    followers = subprocess.Popen(command, env=environment) if pages else None
    loop = asyncio.get_running_loop()
    while feed.pages < pages:
        await asyncio.sleep(0.05)
    began, before, made = loop.time(), time.process_time(), 0
    facts = {"agent": Agent("alice", "engineer"), "provider": "openai", "model": "gpt-4o", "intent_recorded": True}
    while loop.time() - began < seconds:
        await asyncio.sleep(0.005)
        while made < (loop.time() - began) * 1000:
            call = Call(**facts)
            feed.began(call)
            call.outcome = Outcome.COMPLETED
            feed.ended(call)
            made += 1
    spent = time.process_time() - before
    if followers:
        followers.kill()
        followers.wait()
    feed.close()
    await server.close()
    return spent / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--follow", metavar="URL", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.follow:
        asyncio.run(readers(chosen.follow, os.environ["FOLLOW_COOKIE"]))
        return
    with tempfile.TemporaryDirectory() as name:
        alone, watched = (asyncio.run(feed_alone(pages, Path(name))) for pages in (0, PAGES))
    print(f"the feed alone, 1000 calls/s: {(watched - alone) * 1000:.1f} ms CPU a second more with {PAGES} pages")
    through_a_proxy(chosen.rounds)


if __name__ == "__main__":
    main()
