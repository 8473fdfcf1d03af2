"""Decides calls by the policies of a folder, in this process or in worker processes.

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
from typing import TYPE_CHECKING, Protocol

import msgspec

from wirekey.core.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.core.policy.decision_cache import DecisionCache, cache_key, fields_of, only_fields
from wirekey.core.policy.input import encode_input
from wirekey.core.policy.modules import PolicyError, folder_state, read_modules
from wirekey.core.policy.rego import Rego
from wirekey.core.policy.samples import SAMPLES
from wirekey.core.policy.worker import PolicyWorker, start_worker
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.policy.input import Input
    from wirekey.core.policy.modules import FolderState, Modules
    from wirekey.core.policy.worker_process import PolicyReport

logger = logging.getLogger(__name__)

WALL_SECONDS = 30.0
"""Most elapsed seconds of a decision. They end a worker that hangs; `policy.timeout` limits what a policy computes."""
MAX_IN_PROCESS_SECONDS = 0.001
"""Seconds of processor time that a decision on the event loop should not exceed."""
MAX_SLOW_DECISIONS = 3
"""Slow decisions in a row before the policy leaves the event loop. A garbage collection can slow a single one down."""
MAX_WORKERS = 2
"""Workers at a time. While one is busy with a slow call, the other serves the rest."""


class PolicyEngine(Protocol):
    """The source of decisions. Used by one event loop."""

    def decide_at_once(self, given: Input) -> Decision | None:
        """Return the decision on one call if it needs no waiting, otherwise None. Never raises."""

    async def decide(self, given: Input) -> Decision:
        """Return the decision on one call within the time limit. Never raises: an error denies the call."""

    def reads(self, *fields: str) -> bool:
        """Return whether the policy may read one of these fields of the input."""

    @property
    def rejected(self) -> str | None:
        """The first problem of a changed policy, while the previous one stays in force, or None."""

    async def refresh(self) -> None:
        """Load changes of the policy. Called about once a second. Never raises."""

    async def unavailable_reason(self) -> str | None:
        """Return why no call can be decided now, in words fit for anyone, or None. Never raises."""

    def close(self) -> None:
        """Release the engine's processes and connections."""


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


@dataclass(frozen=True, slots=True)
class Validated:
    """A policy that passed validation, with the worker that validated it. The owner ends the worker."""

    state: FolderState
    modules: Modules
    worker: PolicyWorker


class EmbeddedEngine:
    """Decides calls by the modules of a folder. Raises PolicyError if there is no valid policy to start with.

    The constructor blocks for a tenth of a second while a worker validates the policy. `create` does the same without
    blocking the event loop.
    """

    def __init__(
        self,
        path: Path,
        query: str,
        timeout: float,
        validated: Validated | None = None,
        *,
        wall_timeout: float = WALL_SECONDS,
    ) -> None:
        self._path, self._query = path, query
        self._limits = DecisionLimits(timeout, max(timeout, wall_timeout))
        if validated is None:
            state, modules = read_folder(path)
            validated = Validated(state, modules, PolicyWorker(modules, query, SAMPLES, timeout))
        self._state: FolderState | None = validated.state
        self._loaded = LoadedPolicy(validated.modules, query, self._limits, validated.worker)
        self.rejected: str | None = None
        """The first problem of a changed policy, while the previous one stays in force, or None."""
        self._log_loaded()

    @classmethod
    async def create(
        cls, path: Path, query: str, limit: float, *, wall_timeout: float = WALL_SECONDS
    ) -> EmbeddedEngine:
        """Create an engine without blocking the event loop. Raises PolicyError."""
        state, modules = await asyncio.to_thread(read_folder, path)
        worker = await start_worker(modules, query, SAMPLES, limit)
        return cls(path, query, limit, Validated(state, modules, worker), wall_timeout=wall_timeout)

    @property
    def revision(self) -> str:
        """Return the revision of the policy in force."""
        return self._loaded.revision

    def reads(self, *fields: str) -> bool:
        """Return whether the policy may read one of these fields of the input."""
        read = self._loaded.fields
        return read is None or any(field in read for field in fields)

    def decide_at_once(self, given: Input) -> Decision | None:
        """Return the decision on one call, unless a worker process must make it."""
        loaded = self._loaded
        try:
            encoded, key = loaded.encode(given)
            remembered = loaded.cache.find(key) if loaded.cache is not None else None
            if remembered is not None or loaded.in_process is None:
                return remembered
            document = loaded.evaluate_in_process(loaded.in_process, encoded)
            decision = parse_decision(
                msgspec.json.decode(document), loaded.revision, needs_allow=loaded.report.needs_allow
            )
        except Exception as error:
            return failed_decision(loaded, given, error)
        return kept(loaded, given, key, decision)

    async def decide(self, given: Input) -> Decision:
        """Return the decision on one call, from the cache if the same input was decided before."""
        if (decision := self.decide_at_once(given)) is not None:
            return decision
        loaded = self._loaded
        try:
            encoded, key = loaded.encode(given)
            document = msgspec.json.decode(await loaded.document(encoded))
            decision = parse_decision(document, loaded.revision, needs_allow=loaded.report.needs_allow)
        except Exception as error:
            return failed_decision(loaded, given, error)
        return kept(loaded, given, key, decision)

    async def unavailable_reason(self) -> str | None:
        """Return why no call can be decided now, or None. Evaluates a sample call."""
        try:
            await self._loaded.document(SAMPLES[0])
        except Exception as error:
            logger.debug("The policy failed on a sample call: %s", safe_traceback(error))
            return "the policy cannot decide calls"
        return None

    async def refresh(self) -> None:
        """Load the policy if its files have changed. A policy with problems is logged and not used."""
        try:
            state = folder_state(self._path)
            if state == self._state:
                return
            modules = await asyncio.to_thread(read_modules, self._path)
            if folder_state(self._path) != state:
                return  # still being written; the next refresh finds it complete
            self._state = state
            if modules == self._loaded.modules:
                self.rejected = None
                return
            worker = await start_worker(modules, self._query, SAMPLES, self._limits.processor)
            latest = LoadedPolicy(modules, self._query, self._limits, worker)
        except PolicyError as error:
            self._log_rejected(error)
            return
        except OSError as error:
            if self.rejected != (problem := f"it could not be loaded: {error}"):
                logger.error("The changed policy is not in use, as %s", problem)  # noqa: TRY400  # a sentence says it all
            self.rejected = problem
            return
        self.rejected = None
        self._loaded, previous = latest, self._loaded
        previous.retire()
        self._log_loaded()

    def close(self) -> None:
        """Release the policy and its workers."""
        self._loaded.retire()

    def _log_loaded(self) -> None:
        loaded = self._loaded
        logger.info("Policy %s of %s is in force.", loaded.revision, self._path)
        for package in loaded.report.unused_packages:
            logger.warning("Package %s is not used: policy.query is %s.", package, self._query)

    def _log_rejected(self, error: PolicyError) -> None:
        """Log the problems, once for each state of the files."""
        with contextlib.suppress(PolicyError):
            self._state = folder_state(self._path)
        self.rejected = str(error.problems[0]) if error.problems else "it cannot be read"
        for problem in error.problems:
            logger.error("Policy %s: %s", self._path, problem)
        logger.error("The previous policy %s stays in force.", self._loaded.revision)


def read_folder(path: Path) -> tuple[FolderState, Modules]:
    """Return a folder's modules and the state by which a later change is noticed. Raises PolicyError."""
    state = folder_state(path)
    return state, read_modules(path)


def failed_decision(loaded: LoadedPolicy, given: Input, error: Exception) -> Decision:
    """Return the denial of a call on which the policy could not decide, and log why."""
    reason = str(error) if isinstance(error, UndecidedError) else safe_traceback(error)
    return kept(loaded, given, b"", undecided(reason, loaded.revision))


def kept(loaded: LoadedPolicy, given: Input, key: bytes, decision: Decision) -> Decision:
    """Keep a decision for the next call like this one, or log its failure. Return it."""
    if decision.failure:
        logger.error("Call %s: no decision: %s", given.get("id"), decision.failure)
    elif loaded.cache is not None:
        loaded.cache.keep(key, decision)
    return decision
