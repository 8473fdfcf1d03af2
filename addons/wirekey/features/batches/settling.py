"""Charges the cost of a batch to the agent that made it, and records it, once."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from wirekey.core.call import Outcome
from wirekey.core.calls.state import CallState
from wirekey.core.policy.input import build_input
from wirekey.features.batches.record import settlement_of

if TYPE_CHECKING:
    from wirekey.core.call import Agent
    from wirekey.core.calls.services import Services
    from wirekey.features.batches.record import BatchRecord
    from wirekey.features.batches.spending import Spending
    from wirekey.features.batches.store import BatchStore

logger = logging.getLogger(__name__)


class Settlement:
    """Charges and records what batches have cost."""

    def __init__(self, services: Services, store: BatchStore) -> None:
        self.services = services
        self.store = store

    async def settle(self, record: BatchRecord, spending: Spending, reader: Agent | None) -> None:
        """Charge and record what a batch has cost, unless that was done before. Raises BatchStoreError.

        `reader`: the agent that reads its results.
        """
        if not spending.requests:
            return
        claim = await self.store.claim(record.upstream_provider, record.id)
        if claim is None:
            return
        await self._charge(record, spending)
        call = settlement_of(record, spending.model)
        call.usage, call.cost_usd, call.outcome = spending.usage, spending.cost, Outcome.COMPLETED
        who = f" by {reader.id}" if reader and (record.agent is None or reader.id != record.agent.id) else ""
        call.policy_reason = f"batch_settled: {spending.requests} requests of {record.id}, read{who}"
        if spending.unpriced:
            logger.warning(
                "the cost of %d of the %d requests of batch %s is unknown, and not charged to a budget",
                spending.unpriced,
                spending.requests,
                record.id,
                extra={"call": call.id},
            )
        self.services.calls.record(call)
        await self.store.finish(record.upstream_provider, record.id, claim)

    async def _charge(self, record: BatchRecord, spending: Spending) -> None:
        """Charge the cost of a batch in the quotas that apply to its maker."""
        limits = self.services.usage_limits
        in_run = record.run_token is not None and record.run_token == run_token(self.services, record.agent)
        call = settlement_of(record, spending.model, in_run=in_run)
        state = CallState(call)
        limits.note_limits(state, build_input(call, record.headers))
        if waiting := limits.charge(state, charge_id(record), spending.tokens, spending.known_cost):
            await waiting


def run_token(services: Services, agent: Agent | None) -> str | None:
    """Return the id of the token of the run of an agent; None if it has none, or it has ended."""
    run = services.agents.runs.get(agent.run) if agent and agent.run else None
    return run.token if run else None


def charge_id(record: BatchRecord) -> str:
    """Return what identifies the charge of a batch on all machines, so that repeating it adds nothing."""
    return "batch-" + hashlib.sha256(f"{record.upstream_provider}:{record.id}".encode()).hexdigest()[:32]
