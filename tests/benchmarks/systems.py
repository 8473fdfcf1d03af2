"""The systems that are compared, each a process of its own on a core of its own, and what they are called with."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks import litellm as litellm_proxy
from tests.benchmarks import proxies
from tests.benchmarks.load import Target
from wirekey.core.identity.agents import AgentStore

BEDROCK_HOST = "bedrock-runtime.us-east-1.amazonaws.com"
OPENAI_KEY = "sk-proj-" + secrets.token_urlsafe(117)
"""As long as the keys of OpenAI are. How long the search for a key in a response takes depends on its length."""
AWS_PAIR = ("AKIABENCHMARK", "secret-of-the-organisation")


@dataclass(frozen=True)
class System:
    """A running proxy, and the target of each way to call it."""

    name: str
    pid: int
    targets: dict[str, Target]
    folder: Path = Path()
    """Of the files of a system that is not started yet."""


@dataclass(frozen=True)
class Cores:
    """The cores of the proxies, and those of the load and the upstream. Empty if the machine has only one."""

    proxy: frozenset[int]
    load: frozenset[int]

    @classmethod
    def chosen(cls) -> Cores:
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first} if others else ()), frozenset(others))

    def pin(self, pid: int) -> None:
        """Pin a proxy that has just been started."""
        if self.proxy:
            os.sched_setaffinity(pid, self.proxy)

    def pin_load(self) -> None:
        """Pin this process. What it starts later, such as the upstream, inherits it."""
        if self.load:
            os.sched_setaffinity(0, self.load)


@contextlib.contextmanager
def bare(name: str, folder: Path, upstream_port: int, cores: Cores) -> Iterator[System]:
    """Start mitmdump. `name`: forward or reverse, with or without "streaming"."""
    mode, _, streams = name.partition(" ")
    start = proxies.bare_mitmdump if mode == "forward" else proxies.reverse_mitmdump
    with start(folder / name.replace(" ", "-"), upstream_port, streaming=bool(streams)) as (pid, target):
        cores.pin(pid)
        yield System(name, pid, dict.fromkeys(("forward", "gateway", "bedrock"), target))


@contextlib.contextmanager
def wirekey(
    folder: Path,
    upstream_port: int,
    cores: Cores,
    name: str = "wirekey",
    module: tuple[str, ...] = ("wirekey",),
    *,
    console: bool = False,
    **settings: object,
) -> Iterator[System]:
    """Start Wirekey with both listeners, an agent, and AWS credentials to sign with. `settings`: further ones.

    `module`: the module to run, with its own arguments. Those of Wirekey follow.
    """
    folder = folder / name
    folder.mkdir()
    forward, gateway = proxies.free_port(), proxies.free_port()
    place_of_console = f"127.0.0.1:{proxies.free_port()}" if console else None
    upstream = f"https://localhost:{upstream_port}"
    configuration = {
        "listen": {"forward": f"127.0.0.1:{forward}", "gateway": f"127.0.0.1:{gateway}", "console": place_of_console},
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "upstream_ca_file": str(folder.parent / "ca.pem"),
        "providers": {
            "openai": {"keys": ["env:BENCH_KEY"], "upstream_url": upstream},
            "bedrock": {
                "regions": ["us-east-1"],
                "upstream_url": upstream,
                "aws": {"access_key": "env:BENCH_AWS_ID", "secret_key": "env:BENCH_AWS_SECRET"},
            },
        },
        "log": {"level": "warning"},
        **settings,
    }
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    arguments = [str(proxies.PYTHON), "-m", *module, "serve", "--config", str(folder / "wirekey.yaml")]
    environ = {
        "BENCH_KEY": OPENAI_KEY,
        "BENCH_KEY_2": OPENAI_KEY[::-1],
        "BENCH_AWS_ID": AWS_PAIR[0],
        "BENCH_AWS_SECRET": AWS_PAIR[1],
    }
    with proxies.process(arguments, folder, proxies.as_installed() | environ) as running:
        cores.pin(running.pid)
        for port in (forward, gateway):
            proxies.wait_for_port(port)
        agents = AgentStore(folder / "state" / "agents.json")
        token = agents.add("bench")
        pair = agents.pair("bench")
        time.sleep(2.5)  # until the agent is known
        root = str(folder / "certs" / "mitmproxy-ca-cert.pem")
        through_proxy = Target(forward, "api.openai.com", 443, root, token)
        yield System(
            name,
            running.pid,
            {
                "forward": through_proxy,
                "gateway": Target(gateway, "localhost", gateway, "", token),
                "bedrock": replace(
                    through_proxy, host=BEDROCK_HOST, token=None, pair=(pair.access_key, pair.secret.reveal())
                ),
            },
        )


@contextlib.contextmanager
def litellm(folder: Path, upstream_port: int, cores: Cores) -> Iterator[System]:
    """Start LiteLLM's proxy. It has a gateway only."""
    ca = str(folder / "ca.pem")
    parameters = {
        "model": "openai/gpt-4o-mini",
        "api_base": f"https://localhost:{upstream_port}/v1",
        "api_key": "sk-bench",
    }
    configuration = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": parameters}],
        "general_settings": {"master_key": litellm_proxy.KEY},
        "litellm_settings": {"ssl_verify": ca, "telemetry": False},
    }
    with litellm_proxy.running(folder / "litellm", configuration, {"SSL_CERT_FILE": ca}) as (pid, port):
        cores.pin(pid)
        yield System("litellm", pid, {"gateway": Target(port, "localhost", port, "", litellm_proxy.KEY)})
