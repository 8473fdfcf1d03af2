"""Memory under large signed requests at once: python -m tests.benchmarks.large_bodies [--count 8] [--mib 48]

Each is a Converse request with a document, signed by an agent's pair, verified, signed again and checked by the
simulator. Printed is how far the process rose above what it held before, at its highest moment.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.aws_signing import HOST, signed, signing_simulator, signing_wirekey, written
from tests.support.raw_client import RawClient, RawResponse
from tests.support.running import Wirekey

MIB = 1 << 20


@dataclass
class Memory:
    """MiB at the highest moment, above what there was before: of all, and of what no file could take back."""

    peak: float
    anonymous: float
    files: list[int]
    """How many large bodies lay in a file, each time this was looked at."""


def body_with_document(size: int) -> bytes:
    """A Converse request of about so many bytes, most of them one document in base64."""
    document = base64.b64encode(os.urandom(1024) * (size * 3 // 4 // 1024)).decode()
    content = [{"text": "sum up"}, {"document": {"format": "pdf", "name": "d", "source": {"bytes": document}}}]
    return json.dumps({"messages": [{"role": "user", "content": content}]}).encode()


def send(wirekey: Wirekey, body: bytes) -> RawResponse:
    head = written(signed(wirekey, body=body), b"", f"Content-Length: {len(body)}")
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{HOST}:443").status == 200
        client.start_tls(wirekey.root, HOST)
        client.send(head)
        client.send(body)
        return client.read_response()


def resident(process: int, name: str) -> float:
    """MiB of `VmRSS`, `VmHWM` or `RssAnon`."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the process is gone")


def spooled(wirekey: Wirekey) -> int:
    """How many files without names a Wirekey holds open in its state folder."""
    found = 0
    for link in Path(f"/proc/{wirekey.process.pid}/fd").iterdir():
        try:
            found += str(link.readlink()).startswith(str(wirekey.state / "tmp"))
        except FileNotFoundError:
            continue
    return found


def measured[Answered](wirekey: Wirekey, calls: list[Callable[[], Answered]]) -> tuple[list[Answered], Memory]:
    """Make all calls at once. Return the responses, and how far memory rose."""
    process = wirekey.process.pid
    Path(f"/proc/{process}/clear_refs").write_text("5")  # restarts the peak
    before, anonymous = resident(process, "VmRSS"), resident(process, "RssAnon")
    over = threading.Event()
    seen: list[tuple[float, int]] = []

    def watch() -> None:
        while not over.wait(0.002):
            seen.append((resident(process, "RssAnon"), spooled(wirekey)))

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(len(calls)) as clients:
        answers = list(clients.map(lambda call: call(), calls))
    over.set()
    watching.join()
    highest = max(size for size, _ in seen) - anonymous
    return answers, Memory(resident(process, "VmHWM") - before, highest, [files for _, files in seen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--mib", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    body = body_with_document(arguments.mib * MIB)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        simulator = signing_simulator(folder / "simulator")
        with signing_wirekey(folder / "wirekey", simulator) as wirekey:
            send(wirekey, body_with_document(MIB))
            print(f"before: {resident(wirekey.process.pid, 'VmRSS'):.1f} MiB resident")
            for _ in range(arguments.rounds):
                began = time.perf_counter()
                answers, memory = measured(wirekey, [lambda: send(wirekey, body)] * arguments.count)
                print(
                    f"{arguments.count} at once of {len(body) / MIB:.0f} MiB: {[each.status for each in answers]}, "
                    f"{time.perf_counter() - began:.1f} s, up to {max(memory.files)} in files; the process rose by "
                    f"{memory.peak:.1f} MiB, of which {memory.anonymous:.1f} MiB not of files"
                )
                simulator.forget()
        simulator.stop()


if __name__ == "__main__":
    main()
