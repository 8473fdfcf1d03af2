"""The two systems that are compared, each as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.load import Target
from wirekey.core.identity.agents import AgentStore

PYTHON = Path(sys.executable)
MITMDUMP = PYTHON.with_name("mitmdump")
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of those it has started, all threads."""
    return sum(int(fields[11]) + int(fields[12]) for fields in tree_of(pid).values()) / TICKS


def tree_of(pid: int) -> dict[int, list[str]]:
    """Return a process and those it has started, each with its fields of /proc/PID/stat from the state on."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(file.parent.name)] = file.read_text().rpartition(")")[2].split()
    tree = {pid}
    while more := {child for child, fields in found.items() if int(fields[1]) in tree} - tree:
        tree |= more
    return {each: found[each] for each in tree if each in found}


def memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the process is gone")


def memory_of_all_mib(pid: int) -> float:
    """Resident memory of a process and of those it has started."""
    found = 0.0
    for each in tree_of(pid):
        with contextlib.suppress(OSError, RuntimeError):
            found += memory_mib(each)
    return found


def as_installed() -> dict[str, str]:
    """Return environment variables that hide the packages of the tests from a proxy."""
    folders = [str(Path(__file__).with_name("as_installed")), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}


@contextlib.contextmanager
def process(arguments: list[str], folder: Path, environ: dict | None = None, **options) -> Iterator[subprocess.Popen]:
    with (folder / "output.txt").open("ab") as output:
        options = {"stdout": output, "stderr": output} | options
        running = subprocess.Popen(arguments, cwd=Path.cwd(), env=os.environ | (environ or {}), **options)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
        running.kill()


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[int]:
    arguments = [sys.executable, "-m", "tests.benchmarks.upstream", str(folder)]
    with process(arguments, folder, stdout=subprocess.PIPE, text=True) as running:
        yield int(running.stdout.readline())


def wait_for_port(port: int, seconds: float = 30) -> None:
    for _ in range(int(seconds * 20)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


def wait_for_file(path: Path, seconds: float = 60) -> None:
    for _ in range(int(seconds * 20)):
        if path.exists():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{path} does not appear")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def bare_mitmdump(folder: Path, upstream_port: int, *, streaming: bool = False) -> Iterator[tuple[int, Target]]:
    """mitmdump as it comes; it holds an answer until it is whole, unless it is told to stream."""
    folder.mkdir()
    port = free_port()
    options = {
        "confdir": folder,
        "listen_host": "127.0.0.1",
        "connection_strategy": "lazy",
        "ssl_verify_upstream_trusted_ca": folder.parent / "ca.pem",
    }
    if streaming:
        options["stream_large_bodies"] = "1"
    arguments = [str(MITMDUMP), "-q", "-p", str(port)]
    for name, value in options.items():
        arguments += ["--set", f"{name}={value}"]
    with process(arguments, folder, as_installed()) as running:
        wait_for_port(port)
        root = folder / "mitmproxy-ca-cert.pem"
        yield running.pid, Target(port, "localhost", upstream_port, str(root))


@contextlib.contextmanager
def reverse_mitmdump(folder: Path, upstream_port: int, *, streaming: bool = False) -> Iterator[tuple[int, Target]]:
    """mitmdump in reverse mode: plain HTTP in, TLS out."""
    folder.mkdir()
    port = free_port()
    arguments = [str(MITMDUMP), "-q", "--mode", f"reverse:https://localhost:{upstream_port}@127.0.0.1:{port}"]
    options = {"confdir": folder, "ssl_verify_upstream_trusted_ca": folder.parent / "ca.pem"}
    for name, value in (options | ({"stream_large_bodies": "1"} if streaming else {})).items():
        arguments += ["--set", f"{name}={value}"]
    with process(arguments, folder, as_installed()) as running:
        wait_for_port(port)
        yield running.pid, Target(port, "localhost", port, "")


@contextlib.contextmanager
def wirekey(
    folder: Path,
    upstream_port: int,
    *,
    gateway: bool = False,
    pool: bool = True,
    workers: int = 1,
    **settings: object,
) -> Iterator[tuple[int, Target]]:
    folder.mkdir()
    port = free_port()
    place, elsewhere = f"127.0.0.1:{port}", "127.0.0.1:0"
    listen = {"forward": elsewhere, "gateway": place} if gateway else {"forward": place, "gateway": None}
    configuration = {
        "listen": listen | {"console": None},
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "upstream_ca_file": str(folder.parent / "ca.pem"),
        "providers": {"openai": {"keys": ["env:BENCH_KEY"], "upstream_url": f"https://localhost:{upstream_port}"}},
        "upstream_connections": {"reuse": pool},
        "workers": workers,
        "log": {"level": "warning"},
        **settings,
    }
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    arguments = [sys.executable, "-m", "wirekey", "serve", "--config", str(folder / "wirekey.yaml")]
    with process(arguments, folder, as_installed() | {"BENCH_KEY": "sk-bench"}) as running:
        wait_for_file(folder / "state" / "running.json")
        wait_for_port(port)
        token = AgentStore(folder / "state" / "agents.json").add("bench")
        if gateway:
            yield running.pid, Target(port, "localhost", port, "", token)
            return
        root = folder / "certs" / "mitmproxy-ca-cert.pem"
        yield running.pid, Target(port, "api.openai.com", 443, str(root), token)
