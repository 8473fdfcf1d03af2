"""Coding agents of a company: long prompts, half of the responses streamed, and everything on that a company has on.

Wirekey: TLS on both sides, identity, the default policy, a rate quota and a budget, the audit log, metrics, and a pool
of two keys. LiteLLM without a database has neither budgets nor an audit log, so it has TLS, its key, two keys of the
provider and a rate limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks import agent_session, litellm, load, proxies, systems
from tests.benchmarks.load import Target
from tests.benchmarks.open_loop import Clients, percentile_ms, poisson
from tests.benchmarks.scenarios import Figure, Goal, Scenario
from tests.benchmarks.systems import Cores, System
from wirekey_simulator.certificate import prepare_certificate

TURNS = (24, 34, 46)
"""Of the sessions: 200, 280 and 380 KB."""
CLIENTS = 48
REQUESTS = 400
RATE, SECONDS = 10.0, 20.0
"""Of arrivals for the latencies: a rate that each of the systems can serve on one core."""
LARGE = 10**9


def requests_of(target: Target) -> list[tuple[bytes, bool]]:
    """Return a request of each length, streamed and whole, with whether it is streamed."""
    return [
        (agent_session.request(target, stream=stream, turns=turns), stream)
        for turns in TURNS
        for stream in (True, False)
    ]


async def saturate(target: Target, clients: int, count: int) -> float:
    """Send `count` requests, a client's next one as soon as it has a response. Return the seconds."""
    data, context = requests_of(target), target.context()
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await load.connect(target, context)
        for number in left:
            request, stream = data[number % len(data)]
            writer.write(request)
            await writer.drain()
            await (load.rest_of_stream(reader) if stream else load.read_answer(reader))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - began


async def measure(system: System, share: float) -> Mapping[str, float]:
    """Measure the throughput in a closed loop, then the latencies at a fixed rate of arrivals."""
    target, count = system.targets["company"], max(12, int(REQUESTS * share))
    values = {}
    if system.pid:
        before = proxies.cpu_seconds(system.pid)
        seconds = await saturate(target, min(CLIENTS, count), count)
        values["CPU a request"] = (proxies.cpu_seconds(system.pid) - before) * 1000 / count
        values["requests a second on one core"] = count / seconds
    times = poisson(RATE, max(1.0, SECONDS * share), random.Random(28))
    found = await Clients(target).run(times, requests_of(target))
    if found.failed > len(found.whole):
        raise RuntimeError(f"{system.name}: {found.failed} requests failed")
    values["without a response"] = found.failed / (found.failed + len(found.whole)) * 100
    whole = {f"response, p{percentile}": found.ms(percentile) for percentile in (50, 95, 99)}
    first = {f"first token, p{percentile}": percentile_ms(found.first, percentile) for percentile in (50, 99)}
    return values | whole | first


@contextlib.contextmanager
def direct(folder: Path, port: int, _: Cores) -> Iterator[System]:
    yield System("direct", 0, {"company": Target(port, "localhost", port, str(folder / "ca.pem"), tunnel=False)})


@contextlib.contextmanager
def mitmdump(folder: Path, port: int, cores: Cores) -> Iterator[System]:
    with systems.bare("reverse streaming", folder, port, cores) as running:
        proxy = running.targets["gateway"].proxy_port
        root = folder / "reverse-streaming" / "mitmproxy-ca-cert.pem"
        yield System("mitmdump", running.pid, {"company": Target(proxy, "localhost", proxy, str(root), tunnel=False)})


@contextlib.contextmanager
def wirekey(folder: Path, port: int, cores: Cores) -> Iterator[System]:
    settings = {
        "providers": {
            "openai": {"keys": ["env:BENCH_KEY", "env:BENCH_KEY_2"], "upstream_url": f"https://localhost:{port}"}
        },
        "quotas": [
            {"name": "rate", "per": "agent", "requests_per_minute": LARGE},
            {"name": "budget", "per": "agent", "usd_per_month": 1_000_000},
        ],
    }
    with systems.wirekey(folder, port, cores, console=True, **settings) as running:
        gateway = running.targets["gateway"]
        root = folder / "wirekey" / "certs" / "mitmproxy-ca-cert.pem"
        place = Target(gateway.proxy_port, "localhost", gateway.port, str(root), gateway.token, tunnel=False)
        yield System("wirekey", running.pid, {"company": place})


@contextlib.contextmanager
def litellm_proxy(folder: Path, port: int, cores: Cores) -> Iterator[System]:
    ca = str(folder / "ca.pem")
    server, _ = prepare_certificate(folder)
    deployments = [
        {
            "model_name": "gpt-4o-mini",
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_base": f"https://localhost:{port}/v1",
                "api_key": f"sk-bench-{number}",
                "rpm": LARGE,
            },
        }
        for number in range(2)
    ]
    configuration = {
        "model_list": deployments,
        "general_settings": {"master_key": litellm.KEY},
        "litellm_settings": {"ssl_verify": ca, "telemetry": False},
    }
    tls = ("--ssl_keyfile_path", str(server), "--ssl_certfile_path", str(server))
    with litellm.running(folder / "litellm", configuration, {"SSL_CERT_FILE": ca}, tls) as (pid, place):
        cores.pin(pid)
        yield System("litellm", pid, {"company": Target(place, "localhost", place, ca, litellm.KEY, tunnel=False)})


SCENARIO = Scenario(
    "coding agents",
    (
        Figure("requests a second on one core", "", 0, goal=Goal(9, "litellm", at_least=True)),
        Figure("CPU a request", "ms"),
        Figure("response, p50", "ms", 1, added=True),
        Figure("response, p95", "ms", 1, added=True),
        Figure("response, p99", "ms", 1, added=True, goal=Goal(0.25, "litellm")),
        Figure("first token, p50", "ms", 1, added=True),
        Figure("first token, p99", "ms", 1, added=True),
        Figure("without a response", "%", 1),
    ),
    {"direct": direct, "mitmdump": mitmdump, "wirekey": wirekey, "litellm": litellm_proxy},
    measure,
)
