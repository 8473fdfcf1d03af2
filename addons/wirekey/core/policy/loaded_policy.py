"""One revision of the policy, evaluated on the event loop or by worker processes.

A policy without loops takes tens of microseconds and is evaluated on the event loop. A policy with loops can take as
long as its data and the call are large, so worker processes evaluate it and are killed when they exceed the limit.
A policy that takes longer than a millisecond several times in a row moves to worker processes, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.decision_cache import DecisionCache, cache_key, fields_of, only_fields
from wirekey.core.policy.input import encode_input
from wirekey.core.policy.modules import PolicyError
from wirekey.core.policy.rego import Rego
from wirekey.core.policy.worker import PolicyWorker, start_worker

if TYPE_CHECKING:
    from wirekey.core.policy.input import Input
    from wirekey.core.policy.modules import Modules
    from wirekey.core.policy.worker_process import PolicyReport

logger = logging.getLogger(__name__)

MAX_IN_PROCESS_SECONDS = 0.001
"""Seconds of processor time that a decision on the event loop should not exceed."""
MAX_SLOW_DECISIONS = 3
"""Slow decisions in a row before the policy leaves the event loop. A garbage collection can slow a single one down."""
MAX_WORKERS = 2
"""Workers at a time. While one is busy with a slow call, the other serves the rest."""


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """Seconds that a decision may take: `processor` time, and `wall` time for one that hangs."""

    processor: float
    wall: float


class LoadedPolicy:
    """One revision of the policy, ready to evaluate. It is closed when it is retired and its last call is done."""

    def __init__(self, modules: Modules, query: str, limits: DecisionLimits, worker: PolicyWorker) -> None:
        self.modules, self.query, self.limits = modules, query, limits
        self.report: PolicyReport = worker.report
        self.revision = modules.revision
        self.fields = fields_of(modules.rego.values())
        self.cache = None if self.fields is None else DecisionCache()
        try:
            self.in_process: Rego | None = Rego(modules, query) if self.report.linear_time else None
        except BaseException:
            worker.end()
            raise
        self._workers: set[PolicyWorker] = set()
        self._idle: list[PolicyWorker] = []
        if self.in_process is None:
            self._workers.add(worker)
            self._idle.append(worker)
        else:
            worker.end()
        self._waiting: list[asyncio.Future[PolicyWorker]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._users = 0
        self._slow = 0
        self._retired = False

    async def document(self, given: bytes) -> bytes:
        """Return the decision document for an input; both JSON. Raises UndecidedError."""
        self._users += 1
        try:
            if self.in_process is not None:
                return self.evaluate_in_process(self.in_process, given)
            return await self._evaluate_in_worker(given)
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close this revision once its last call is done."""
        self._retired = True
        self._close_if_unused()

    def encode(self, given: Input) -> tuple[bytes, bytes]:
        """Return what of an input the policy reads, as JSON, and its key in the cache. Raises UndecidedError."""
        encoded = encode_input(given)
        if self.fields is not None:
            encoded = encode_input(only_fields(given, self.fields))
        return encoded, b"" if self.cache is None else cache_key(encoded)

    def evaluate_in_process(self, interpreter: Rego, given: bytes) -> bytes:
        """Return the decision document for an input; both JSON. Raises UndecidedError."""
        began = time.thread_time()
        try:
            return interpreter.evaluate(given)
        finally:
            self._slow = self._slow + 1 if time.thread_time() - began > MAX_IN_PROCESS_SECONDS else 0
            if self._slow >= MAX_SLOW_DECISIONS:
                logger.warning(
                    "The policy took longer than a millisecond several times in a row. "
                    "Worker processes evaluate it from now on."
                )
                self.in_process = None

    async def _evaluate_in_worker(self, given: bytes) -> bytes:
        deadline = time.monotonic() + self.limits.wall
        worker = await self._acquire_worker()
        try:
            return await worker.evaluate(given, max(0.001, deadline - time.monotonic()))
        finally:
            self._release_worker(worker)

    async def _acquire_worker(self) -> PolicyWorker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            self._workers.discard(worker)
        self._start_if_needed()
        waiting: asyncio.Future[PolicyWorker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self.limits.wall):
                return await waiting
        except BaseException as error:
            if waiting.done() and not waiting.cancelled():
                self._release_worker(waiting.result())  # it arrived just as the wait ended
            if isinstance(error, TimeoutError):
                message = f"No policy worker was free within {self.limits.wall:.3g} s."
                raise UndecidedError(message) from None
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiting)

    def _release_worker(self, worker: PolicyWorker) -> None:
        if not worker.alive:
            worker.end()
            self._workers.discard(worker)
            self._start_if_needed()
            return
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_result(worker)
                return
        self._idle.append(worker)

    def _start_if_needed(self) -> None:
        if not self._retired and len(self._workers) + len(self._starting) < MAX_WORKERS:
            task = asyncio.get_running_loop().create_task(self._start_worker())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start_worker(self) -> None:
        try:
            worker = await start_worker(self.modules, self.query, [], self.limits.processor)
        except (PolicyError, OSError) as error:
            logger.error("A policy worker could not be started: %s", error)  # noqa: TRY400  # a sentence
            return
        self._workers.add(worker)
        self._release_worker(worker)
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._users:
            for worker in self._workers:
                worker.end()
            self._workers.clear()
            self._idle.clear()
            self.in_process = None
