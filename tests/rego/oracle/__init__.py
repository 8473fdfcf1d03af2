"""OPA's own engine, asked what it makes of a policy: the reference for the embedded engine.

It runs in a process and an environment of its own, because it has another Python than Wirekey. `.ci/run` installs it.
Builtin errors end an evaluation (OPA's `--strict-builtin-errors`), as they do in the embedded engine.
"""

import json
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

SERVER = Path(__file__).parent / "serve.py"
PATIENCE = 120.0
AHEAD = 16
"""Policies that are sent before the answer to the first of them is read."""


DECIDING = ("deny", "allow", "model", "max_tokens")
GARBAGE_PERCENT = 800
"""How far the heap of OPA's engine, written in Go, grows before it is searched for garbage. Go's default is 100."""
COLLECTING = "oracle_asked"
"""A package that is added to the policy. Its rules collect what others say, so that undefined ones do no harm."""


@dataclass(frozen=True)
class Asked:
    """A policy and the inputs to evaluate it with. `rego`: name to source.

    The answers are documents of those rules of the package `query` that `names` names.
    """

    rego: dict[str, str]
    query: str
    inputs: list[Any]
    data: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = DECIDING


@dataclass(frozen=True)
class Answer:
    """What the rules are for one input: a document, without those that are undefined, or why the evaluation ended."""

    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Answers:
    """What an engine makes of a policy: why it refuses to load it, or one answer for each input."""

    problem: str | None
    answers: list[Answer]


def oracle_python() -> Path | None:
    """Return the Python of the oracle's environment, or None if it is not installed."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache"
    found = Path(cache) / "wirekey-oracle" / "bin" / "python"
    return found if found.exists() else None


class Oracle:
    """One process with OPA's engine. Use it as a context manager; the process ends with it.

    `ask` may be called from several threads, but not while `ask_each` runs.
    """

    def __init__(self, python: Path) -> None:
        environment = os.environ | {"GOGC": str(GARBAGE_PERCENT)}
        self._process = subprocess.Popen(
            [python, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def ask(self, asked: Asked) -> Answers:
        """Return what OPA makes of one policy."""
        with self._asking:
            self._send(asked)
            return self._receive()

    def ask_each(self, policies: Iterable[Asked]) -> Iterator[tuple[Asked, Answers]]:
        """Yield each policy with OPA's answers, in order. OPA works on the next ones in the meantime."""
        waiting: deque[Asked] = deque()
        for asked in policies:
            self._send(asked)
            waiting.append(asked)
            if len(waiting) > AHEAD:
                yield waiting.popleft(), self._receive()
        while waiting:
            yield waiting.popleft(), self._receive()

    def _send(self, asked: Asked) -> None:
        rules = [f"{name} := {asked.query}.{name}" for name in asked.names]
        collecting = "\n".join([f"package {COLLECTING}", *rules]) + "\n"
        modules = asked.rego | {f"{COLLECTING}.rego": collecting}
        line = {"modules": modules, "data": asked.data, "query": f"data.{COLLECTING}", "inputs": asked.inputs}
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self) -> Answers:
        line = self._lines.get(timeout=PATIENCE)
        if not line:
            raise RuntimeError("The process with OPA's engine ended.")
        answer = json.loads(line)
        return Answers(answer["problem"], [Answer(**each) for each in answer["answers"]])

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")
