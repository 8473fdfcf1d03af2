"""How long commands take: from the start of a proxy until it is ready, `wirekey exec`, and `--help`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.benchmarks import litellm, proxies, systems
from tests.benchmarks.scenarios import Figure, Goal, Scenario
from tests.benchmarks.systems import Cores, System

WIREKEY = (str(proxies.PYTHON), "-m", "wirekey")
LIMIT = 180.0
LOOK = 0.002
"""Seconds between two looks whether a proxy is ready."""


@contextlib.contextmanager
def in_folder(folder: Path, port: int, _: Cores, *, name: str) -> Iterator[System]:
    """Start nothing: what is measured is the start. The folder has the configuration."""
    console, listener = proxies.free_port(), proxies.free_port()
    listen = {"forward": "127.0.0.1:0", "gateway": f"127.0.0.1:{listener}", "console": f"127.0.0.1:{console}"}
    configuration = {
        "listen": listen,
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "upstream_ca_file": str(folder / "ca.pem"),
        "providers": {"openai": {"keys": ["env:BENCH_KEY"], "upstream_url": f"https://localhost:{port}"}},
    }
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    parameters = {"model": "openai/gpt-4o-mini", "api_base": f"https://localhost:{port}/v1", "api_key": "sk-bench"}
    models = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": parameters}],
        "general_settings": {"master_key": litellm.KEY},
    }
    (folder / "config.yaml").write_text(json.dumps(models))
    yield System(name, 0, {}, folder)


def is_ready(port: int) -> bool:
    """Return whether the console says that Wirekey is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Return whether a proxy listens."""
    try:
        proxies.socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def started(folder: Path, arguments: list[str], ready: Callable[[], bool], found: dict[str, float]) -> Iterator[None]:
    """Start a proxy, and note the time and the CPU time until it is ready."""
    began = time.monotonic()
    environ = proxies.as_installed() | litellm.ENVIRON | {"BENCH_KEY": systems.OPENAI_KEY}
    with proxies.process(arguments, folder, environ) as process:
        while not ready():
            if process.poll() is not None or time.monotonic() > began + LIMIT:
                raise RuntimeError(f"{arguments[0]} did not start: {(folder / 'output.txt').read_text()[-500:]}")
            time.sleep(LOOK)
        found["start to ready"] = time.monotonic() - began
        found["start to ready, CPU"] = proxies.cpu_seconds(process.pid)
        yield


def run(name: str, arguments: list[str], found: dict[str, float]) -> None:
    """Run a command to its end, and note its time and its CPU time."""
    environ = os.environ | proxies.as_installed() | litellm.ENVIRON | {"BENCH_KEY": systems.OPENAI_KEY}
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    _, status, used = os.wait4(process.pid, 0)
    found[name] = time.monotonic() - began
    found[f"{name}, CPU"] = used.ru_utime + used.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} failed with {process.returncode}")


async def measure(system: System, _: float) -> Mapping[str, float]:
    """Start the proxy and run the commands."""
    found: dict[str, float] = {}
    folder, port = system.folder, proxies.free_port()
    others = {
        "mitmdump": [str(proxies.MITMDUMP), "-q", "-p", str(port), "--set", f"confdir={folder}"],
        "litellm": ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)],
    }
    if arguments := others.get(system.name):
        program = [str(litellm.install())] if system.name == "litellm" else []
        with started(folder, program + arguments, partial(listens, port), found):
            return found
    configuration = str(folder / "wirekey.yaml")
    console = int(json.loads(Path(configuration).read_text())["listen"]["console"].rpartition(":")[2])
    serve = [*WIREKEY, "serve", "--config", configuration]
    for _ in range(2):  # the first start makes the CA
        with started(folder, serve, partial(is_ready, console), found):
            run("exec", [*WIREKEY, "exec", "--config", configuration, "--", "true"], found)
    run("--help", [*WIREKEY, "--help"], found)
    return found


SCENARIO = Scenario(
    "start",
    (
        Figure("start to ready", "s", goal=Goal(1.0)),
        Figure("start to ready, CPU", "s"),
        Figure("exec", "s", goal=Goal(0.25)),
        Figure("exec, CPU", "s"),
        Figure("--help", "s", goal=Goal(0.15)),
        Figure("--help, CPU", "s"),
    ),
    {name: partial(in_folder, name=name) for name in ("mitmdump", "wirekey", "litellm")},
    measure,
    starts_anew=True,
)
