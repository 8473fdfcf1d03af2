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

from tests.benchmarks import proxies
from tests.benchmarks.load import Target
from wirekey.core.identity.agents import AgentStore

LITELLM = Path("~/.cache/wirekey-litellm/bin/litellm").expanduser()
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
    **settings: object,
) -> Iterator[System]:
    """Start Wirekey with both listeners, an agent, and AWS credentials to sign with. `settings`: further ones.

    `module`: the module to run, with its own arguments. Those of Wirekey follow.
    """
    folder = folder / name
    folder.mkdir()
    forward, gateway = proxies.free_port(), proxies.free_port()
    upstream = f"https://localhost:{upstream_port}"
    configuration = {
        "listen": {"forward": f"127.0.0.1:{forward}", "gateway": f"127.0.0.1:{gateway}", "console": None},
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
    environ = {"BENCH_KEY": OPENAI_KEY, "BENCH_AWS_ID": AWS_PAIR[0], "BENCH_AWS_SECRET": AWS_PAIR[1]}
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
    """Start LiteLLM's proxy with one worker, as its documentation says. It has a gateway only."""
    if not LITELLM.exists():
        raise SystemExit(f"LiteLLM's proxy is not installed: {LITELLM} does not exist. See docs/performance.md.")
    folder = folder / "litellm"
    folder.mkdir()
    port = proxies.free_port()
    parameters = {
        "model": "openai/gpt-4o-mini",
        "api_base": f"https://localhost:{upstream_port}/v1",
        "api_key": "sk-bench",
    }
    configuration = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": parameters}],
        "general_settings": {"master_key": "sk-litellm"},
        "litellm_settings": {"ssl_verify": str(folder.parent / "ca.pem"), "telemetry": False},
    }
    (folder / "config.yaml").write_text(json.dumps(configuration))
    arguments = [str(LITELLM), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "SSL_CERT_FILE": str(folder.parent / "ca.pem"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "DISABLE_ADMIN_UI": "True",
    }
    with proxies.process([*arguments, "--num_workers", "1"], folder, environ) as running:
        cores.pin(running.pid)
        try:
            proxies.wait_for_port(port, seconds=120)
        except RuntimeError:
            printed = (folder / "output.txt").read_text(errors="replace").splitlines()
            raise SystemExit(f"LiteLLM's proxy did not start: {printed[-1] if printed else 'no output'}") from None
        yield System("litellm", running.pid, {"gateway": Target(port, "localhost", port, "", "sk-litellm")})
