"""Decides calls by the policies of a folder, within the process.

A policy without loops takes some tens of microseconds, and is judged on the event loop. One that iterates could take
as long as its data and the call are large: it is judged by child processes, which are killed when the time is over.
So is a policy that all the same took longer than a millisecond several times in a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from wirekey.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.policy.decision_cache import DecisionCache, cache_key, is_cacheable, without_call_fields
from wirekey.policy.input import encode_input
from wirekey.policy.modules import PolicyError, folder_state, read_modules
from wirekey.policy.rego import Rego
from wirekey.policy.samples import SAMPLES
from wirekey.policy.worker import PolicyWorker, started
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.policy.input import Input
    from wirekey.policy.modules import FolderState, Modules
    from wirekey.policy.rego import Interpreter
    from wirekey.policy.worker import Report

logger = logging.getLogger(__name__)

WALL_SECONDS = 30.0
LONGEST_AT_HOME = 0.001
"""Seconds of processor time that a decision on the event loop should not exceed."""
SLOW_IN_A_ROW = 3
"""Decisions that exceed it before the policy leaves the event loop: a garbage collection alone can slow one down."""
JUDGES = 2
"""Children at a time: one that is busy with a slow call leaves another one for the rest."""


class PolicyEngine(Protocol):
    """Where decisions come from. For one event loop."""

    async def decide(self, given: Input) -> Decision:
        """Decide one call, within the time limit. Never raises: what cannot be decided is denied."""

    async def refresh(self) -> None:
        """Follow changes of the policy; call it about once a second. Never raises."""

    async def trouble(self) -> str | None:
        """Return why no call can be decided now, in words that anyone may read; None: each can. Never raises."""

    def close(self) -> None:
        """End what was started for it."""


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """Seconds that a decision may take: of the processor, and by the clock for one that is stuck."""

    processor: float
    wall: float


class LoadedPolicy:
    """One revision of the policy, ready to judge; ended when nobody uses it any more."""

    def __init__(self, modules: Modules, query: str, limits: DecisionLimits, first: PolicyWorker) -> None:
        self.modules, self.query, self.limits = modules, query, limits
        self.report: Report = first.report
        self.revision = modules.revision
        self.memory = DecisionCache() if is_cacheable(modules.rego.values()) else None
        try:
            self.in_process: Interpreter | None = Rego(modules, query) if self.report.straight else None
        except BaseException:
            first.end()
            raise
        self._all: set[PolicyWorker] = set()
        self._idle: list[PolicyWorker] = []
        if self.in_process is None:
            self._all.add(first)
            self._idle.append(first)
        else:
            first.end()
        self._waiting: list[asyncio.Future[PolicyWorker]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._users = 0
        self._slow = 0
        self._retired = False

    async def document(self, given: bytes) -> bytes:
        """Return the decision document. Raises UndecidedError."""
        self._users += 1
        try:
            if self.in_process is not None:
                return self._judged_at_home(self.in_process, given)
            return await self._judged_by_child(given)
        finally:
            self._users -= 1
            self._end_if_unused()

    def retire(self) -> None:
        """End it as soon as the last call that it judges is done."""
        self._retired = True
        self._end_if_unused()

    def _judged_at_home(self, interpreter: Interpreter, given: bytes) -> bytes:
        began = time.thread_time()
        try:
            return interpreter.answer(given)
        finally:
            self._slow = self._slow + 1 if time.thread_time() - began > LONGEST_AT_HOME else 0
            if self._slow >= SLOW_IN_A_ROW:
                logger.warning(
                    "The policy took longer than a millisecond again; from now on other processes judge by it."
                )
                self.in_process = None

    async def _judged_by_child(self, given: bytes) -> bytes:
        deadline = time.monotonic() + self.limits.wall
        judge = await self._free_judge()
        try:
            return await judge.ask(given, max(0.001, deadline - time.monotonic()))
        finally:
            self._give_back(judge)

    async def _free_judge(self) -> PolicyWorker:
        while self._idle:
            judge = self._idle.pop()
            if judge.alive:
                return judge
            self._all.discard(judge)
        self._start_more()
        waiting: asyncio.Future[PolicyWorker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self.limits.wall):
                return await waiting
        except BaseException as error:
            if waiting.done() and not waiting.cancelled():
                self._give_back(waiting.result())  # it came in the very moment in which the wait ended
            if isinstance(error, TimeoutError):
                message = f"No process was free to judge within {self.limits.wall:.3g} s (policy.wall_timeout)."
                raise UndecidedError(message) from None
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiting)

    def _give_back(self, judge: PolicyWorker) -> None:
        if not judge.alive:
            judge.end()
            self._all.discard(judge)
            self._start_more()
            return
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_result(judge)
                return
        self._idle.append(judge)

    def _start_more(self) -> None:
        if not self._retired and len(self._all) + len(self._starting) < JUDGES:
            task = asyncio.get_running_loop().create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        try:
            judge = await started(self.modules, self.query, [], self.limits.processor)
        except (PolicyError, OSError) as error:
            logger.error("A process to judge by the policy could not be started: %s", error)  # noqa: TRY400  # a sentence
            return
        self._all.add(judge)
        self._give_back(judge)
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._retired and not self._users:
            for judge in self._all:
                judge.end()
            self._all.clear()
            self._idle.clear()
            self.in_process = None


@dataclass(frozen=True, slots=True)
class Validated:
    """A policy that was read and found good; its judge is still to be ended."""

    signature: FolderState
    modules: Modules
    judge: PolicyWorker


class EmbeddedEngine:
    """Decides by the modules of a folder. Raises PolicyError if there is no good policy to begin with.

    For the thread that makes it, which waits for a tenth of a second while the policy is tried; see `meanwhile`.
    """

    def __init__(
        self,
        path: Path,
        query: str,
        timeout: float,
        tried: Validated | None = None,
        *,
        wall_timeout: float = WALL_SECONDS,
    ) -> None:
        self._path, self._query = path, query
        self._limits = DecisionLimits(timeout, max(timeout, wall_timeout))
        if tried is None:
            signature, modules = read(path)
            tried = Validated(signature, modules, PolicyWorker(modules, query, SAMPLES, timeout))
        self._signature: FolderState | None = tried.signature
        self._loaded = LoadedPolicy(tried.modules, query, self._limits, tried.judge)
        self.rejected: str | None = None
        """What is wrong with a changed policy, for which the former one is still in force; None: there is none."""
        self._tell()

    @classmethod
    async def meanwhile(
        cls, path: Path, query: str, limit: float, *, wall_timeout: float = WALL_SECONDS
    ) -> EmbeddedEngine:
        """Make one while the event loop goes on with its work. Raises PolicyError."""
        signature, modules = await asyncio.to_thread(read, path)
        judge = await started(modules, query, SAMPLES, limit)
        return cls(path, query, limit, Validated(signature, modules, judge), wall_timeout=wall_timeout)

    @property
    def revision(self) -> str:
        return self._loaded.revision

    async def decide(self, given: Input) -> Decision:
        loaded = self._loaded
        key = b""
        try:
            asked = encode_input(given if loaded.memory is None else without_call_fields(given))
            if loaded.memory is not None:
                key = cache_key(asked)
                if remembered := loaded.memory.find(key):
                    return remembered
            document = msgspec.json.decode(await loaded.document(asked))
            decision = parse_decision(document, loaded.revision, needs_allow=loaded.report.needs_allow)
        except UndecidedError as error:
            decision = undecided(str(error), loaded.revision)
        except Exception as error:
            decision = undecided(f"{safe_traceback(error)}", loaded.revision)
        if decision.failure:
            logger.error("Call %s: no decision: %s", given.get("id"), decision.failure)
        elif loaded.memory is not None:
            loaded.memory.keep(key, decision)
        return decision

    async def trouble(self) -> str | None:
        try:
            await self._loaded.document(SAMPLES[0])
        except Exception as error:
            logger.debug("The policy was asked about a sample in vain: %s", safe_traceback(error))
            return "the policy gives no decisions"
        return None

    async def refresh(self) -> None:
        try:
            signature = folder_state(self._path)
            if signature == self._signature:
                return
            modules = await asyncio.to_thread(read_modules, self._path)
            if folder_state(self._path) != signature:
                return  # still being written; the next look finds it whole
            self._signature = signature
            if modules == self._loaded.modules:
                self.rejected = None
                return
            judge = await started(modules, self._query, SAMPLES, self._limits.processor)
            latest = LoadedPolicy(modules, self._query, self._limits, judge)
        except PolicyError as error:
            self._complain(error)
            return
        except OSError as error:
            logger.error("The changed policy could not be loaded: %s", error)  # noqa: TRY400  # a sentence says it all
            return
        self.rejected = None
        self._loaded, former = latest, self._loaded
        former.retire()
        self._tell()

    def close(self) -> None:
        self._loaded.retire()

    def _tell(self) -> None:
        loaded = self._loaded
        logger.info("Policy %s of %s is in force.", loaded.revision, self._path)
        for package in loaded.report.unasked:
            logger.warning("Package %s decides nothing: policy.query is %s.", package, self._query)

    def _complain(self, error: PolicyError) -> None:
        """Say what is wrong, once for each state of the files."""
        with contextlib.suppress(PolicyError):
            self._signature = folder_state(self._path)
        self.rejected = str(error.problems[0]) if error.problems else "it cannot be read"
        for problem in error.problems:
            logger.error("Policy %s: %s", self._path, problem)
        logger.error("The former policy %s stays in force.", self._loaded.revision)


def read(path: Path) -> tuple[FolderState, Modules]:
    """Return a folder's modules, and what to notice a later change by. Raises PolicyError."""
    signature = folder_state(path)
    return signature, read_modules(path)
