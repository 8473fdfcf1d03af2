"""Decides calls by the policies of a folder, and follows their changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from wirekey.core.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.core.policy.loaded_policy import DecisionLimits, LoadedPolicy
from wirekey.core.policy.modules import PolicyError, folder_state, read_modules
from wirekey.core.policy.samples import SAMPLES
from wirekey.core.policy.worker import PolicyWorker, start_worker
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.policy.input import Input
    from wirekey.core.policy.modules import FolderState, Modules

logger = logging.getLogger(__name__)

WALL_SECONDS = 30.0
"""Most elapsed seconds of a decision. They end a worker that hangs; `policy.timeout` limits what a policy computes."""


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
