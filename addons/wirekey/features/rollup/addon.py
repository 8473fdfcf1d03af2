"""Replaces the beginning of a long conversation with a stored text, and stores conversations after their responses."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.body_reading.reading import is_costly
from wirekey.core.call import Outcome
from wirekey.core.calls.attempt_rewrite import AT_ONCE
from wirekey.core.calls.response_copy import AnswerCopy
from wirekey.core.egress.hosts import bedrock_host
from wirekey.core.operation import Kind
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.rollup.answers import read_answer
from wirekey.features.rollup.config import RollupOfRoute
from wirekey.features.rollup.history import cut_points, format_of, prefix_keys, read_history, with_answer
from wirekey.features.rollup.own_calls import OnBehalf, OwnCalls, OwnRequest
from wirekey.features.rollup.settings import RollupSettings
from wirekey.features.rollup.shortening import shortened
from wirekey.features.rollup.store import RollupStore
from wirekey.features.rollup.summary import json_text, summarised, summary_request
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_head import read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.features.rollup.history import History

logger = logging.getLogger(__name__)

SUMMARY = "rollup.summary"
SUMMARIES_AT_ONCE = 4
MOST_PENDING = 64
"""Conversations that are being stored. Beyond them, further ones are left out."""
SWEEP = 1.0
"""Seconds between two looks for agents that were revoked, while anything is stored."""
FIRST_ERROR_STATUS = 400


@dataclass(slots=True)
class UnstoredConversation:
    """A request whose response is in progress, to be stored with it."""

    flow: str
    """The id of its flow."""
    form: str
    body: bytes = field(repr=False)
    copy: AnswerCopy
    behalf: OnBehalf
    prefix: tuple[int, str] | None = field(default=None, repr=False)
    """The number of turns that were replaced, and the text that replaced them."""

    @property
    def size(self) -> int:
        """The bytes that were reserved for it."""
        return len(self.body) + self.copy.size


class Rollup(Addon):
    """Shortens requests by what is stored of their conversation, and stores conversations.

    It comes after the policy and the routes, and before the quotas, so that all attempts send the shortened body. It
    leaves that body in the state and the number of removed messages in the call. The response never waits for it.
    Unless rollup is on, it does nothing and holds nothing. It holds all in memory only.
    """

    def __init__(self, services: Services, order: AddonOrder) -> None:
        super().__init__(services)
        self.own_calls = OwnCalls(services, order)
        self.store = RollupStore()
        self.in_progress: dict[str, UnstoredConversation] = {}
        """The requests whose response is in progress, by the id of their call."""
        self.held = 0
        """Bytes of their bodies, and of the responses so far."""
        self.pending: set[asyncio.Task[None]] = set()
        self.summaries = asyncio.Semaphore(SUMMARIES_AT_ONCE)
        self.sweeping: asyncio.TimerHandle | None = None

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Shorten a request of an agent whose conversation is stored, and note the request to store it later."""
        settings = self.services.settings.features.find(RollupSettings)
        return None if settings is None else self.consider(flow, settings)

    def consider(self, flow: http.HTTPFlow, settings: RollupSettings) -> Awaitable[None] | None:
        """Shorten a request if it is a conversation, of an agent, whose route is rolled up, and not too large."""
        state = self.calls.state(flow)
        call, body, plan = state.call, state.body, state.plan
        if not (call.operation and call.agent and call.facts and call.reads_body and plan):
            return None
        form = format_of(call.operation) if call.operation.kind is Kind.INFERENCE else None
        route = plan.candidates[0].features.find(RollupOfRoute)
        own = route.rollup if route else None
        if form is None or not (settings.enabled if own is None else own):
            return None
        if not isinstance(body, bytes) or is_costly(body) or (call.facts.choices or 1) > 1:
            return None
        if len(body) > AT_ONCE:
            return self.shorten_later(flow, settings, form, body)
        self.apply(flow, settings, form, body, read_history(form, body))
        return None

    async def shorten_later(self, flow: http.HTTPFlow, settings: RollupSettings, form: str, body: bytes) -> None:
        """Shorten a request whose messages take a while to read. A thread reads them, one request at a time."""
        async with self.services.one_rewrite:
            history = await asyncio.to_thread(read_history, form, body)
        self.apply(flow, settings, form, body, history)

    def apply(
        self, flow: http.HTTPFlow, settings: RollupSettings, form: str, body: bytes, history: History | None
    ) -> None:
        """Shorten a request, and note it. If its messages cannot be read, it stays as it is."""
        if history is None:
            return
        state = self.calls.state(flow)
        call = state.call
        assert call.agent
        replaced = self.shorten(flow, state, history)
        if not self.take(len(body)):
            return
        if not self.in_progress and self not in self.services.events.observers:
            self.services.events.observers.append(self)
        copy = AnswerCopy(self.take)
        state.response_copies += (copy,)
        behalf = OnBehalf(call.agent, state.proof, call.client, call.header_labels)
        self.in_progress[call.id] = UnstoredConversation(flow.id, form, body, copy, behalf, replaced)
        self.sweep_later()

    def take(self, size: int) -> bool:
        """Reserve memory for open calls. Return False if rollup has no room for it."""
        settings = self.services.settings.features.find(RollupSettings)
        if settings is None or self.held + size > settings.bytes:
            return False
        self.held += size
        return True

    def shorten(self, flow: http.HTTPFlow, state: CallState, history: History) -> tuple[int, str] | None:
        """Replace the longest stored beginning. Return the number of its turns and the text, or None."""
        call = state.call
        assert call.agent
        if not len(self.store):
            return None
        keys = prefix_keys(call.agent.id, history.form, history.encoded)
        for count in cut_points(history.turns):
            text = self.store.find(keys[count - 1])
            if text is None:
                continue
            found = shortened(history, count, text, call.facts.model if call.facts else None)
            if found is None:
                return None
            body, removed = found
            if not self.asks_the_same(flow, call, body):
                logger.error("a shortened request would ask for something else, so it was left as it is")
                return None
            state.body, call.rolled_up = body, removed
            return count, text
        return None

    def asks_the_same(self, flow: http.HTTPFlow, call: Call, body: RequestBody) -> bool:
        """Return whether a shortened body asks for what was decided: read again, as the policy's input was."""
        assert call.provider
        assert call.operation
        assert call.facts
        request = self.calls.request(flow)
        query, content_type = read_query(request.path.partition("?")[2]), request.headers.get("content-type", "")
        facts = PROVIDERS[call.provider].operations.read_request(call.operation, query, content_type, body)
        decided = call.facts
        names = ("model", "stream", "tools", "tool_count", "other_models", "choices")
        cap = self.calls.state(flow).cap
        return all(getattr(facts, name) == getattr(decided, name) for name in names) and (
            facts.max_tokens in {decided.max_tokens, cap}
        )

    # Observes calls, once rollup is on.

    def began(self, call: Call) -> None:
        """Do nothing: the request was noted before."""

    def ended(self, call: Call) -> None:
        """Begin to store a conversation whose response is complete. Nothing waits for it."""
        found = self.in_progress.pop(call.id, None)
        if found is None:
            return
        self.held -= found.size
        settings = self.services.settings.features.find(RollupSettings)
        is_complete = call.outcome is Outcome.COMPLETED and (call.status or FIRST_ERROR_STATUS) < FIRST_ERROR_STATUS
        if settings is None or not is_complete or found.copy.is_cut or len(self.pending) >= MOST_PENDING:
            return
        task = asyncio.get_running_loop().create_task(self.remember(found, settings))
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    async def remember(self, found: UnstoredConversation, settings: RollupSettings) -> None:
        """Store a conversation with its response."""
        try:
            await self.store_text(found, settings)
        except Exception as error:
            logger.error("a conversation could not be stored: %s", safe_traceback(error))  # noqa: TRY400  # without the message

    async def store_text(self, found: UnstoredConversation, settings: RollupSettings) -> None:
        """Store the text of a conversation, or a summary of it."""
        agent = found.behalf.agent
        assert agent
        async with self.services.one_rewrite:
            read = await asyncio.to_thread(read_again, found)
        if read is None:
            return
        encoded, starts = read
        key = prefix_keys(agent.id, found.form, encoded)[-1]
        text = json_text(encoded)
        if key in self.store:
            self.store.find(key)
            return
        if len(text) > settings.threshold and not self.services.drain.has_begun:
            text = await self.summary(found, settings, encoded, starts) or text
        current = self.services.settings.features.find(RollupSettings)
        if current is None or self.is_gone(agent.id):
            return
        self.store.put(key, agent.id, text, current.entries, current.bytes)
        self.sweep_later()

    async def summary(
        self, found: UnstoredConversation, settings: RollupSettings, encoded: list[bytes], starts: list[int]
    ) -> str | None:
        """Return the summary of a conversation; None if it cannot be made.

        If the request was shortened, the model reads the stored text and the messages since.
        """
        count, before = found.prefix or (0, "")
        conversation = f"{before}\n{json_text(encoded[count:])}" if before else json_text(encoded)
        services = self.services
        backend = services.settings.default_backend
        request = summary_request(settings.model, settings.prompt, conversation, backend)
        regions = services.settings.regions or ("us-east-1",)
        host = PROVIDERS[request.provider].hosts.own or bedrock_host(regions[0])
        own = OwnRequest(SUMMARY, host, request.path, request.body, request.headers, settings.timeout)
        async with self.summaries:
            response = await self.own_calls.send(own, found.behalf)
        context = read_answer(request.form, *response) if response else None
        if context is None:
            return None
        return summarised(context, encoded, starts, settings.threshold, verbatim=settings.verbatim)

    # Removing what is stored.

    def is_gone(self, agent: str) -> bool:
        """Return whether an agent was revoked or suspended. Agents of other issuers are not known here."""
        agents = self.services.agents
        return agents.has(agent) and agents.find_name(agent) is None

    def sweep_later(self) -> None:
        """Look in a while for what must go, if anything is held."""
        if self.sweeping is None and (len(self.store) or self.in_progress):
            self.sweeping = asyncio.get_running_loop().call_later(SWEEP, self.sweep)

    def sweep(self) -> None:
        """Remove the entries of revoked agents, and what a new configuration no longer allows.

        Remove calls, too, that have ended without an event: their client left before they were decided.
        """
        self.sweeping = None
        for call_id in [key for key, found in self.in_progress.items() if found.flow not in self.calls.states]:
            self.held -= self.in_progress.pop(call_id).size
        settings = self.services.settings.features.find(RollupSettings)
        if settings is None:
            self.store.clear()
            self.sweep_later()
            return
        self.store.limit(settings.entries, settings.bytes)
        self.store.remove_agents(self.is_gone)
        self.sweep_later()

    async def done(self) -> None:
        """End what is in progress, and remove all entries."""
        if self.sweeping:
            self.sweeping.cancel()
        for task in self.pending:
            task.cancel()
        await asyncio.gather(*self.pending, return_exceptions=True)
        self.store.clear()
        self.in_progress.clear()


def read_again(found: UnstoredConversation) -> tuple[list[bytes], list[int]] | None:
    """Return the messages of a conversation with its response, and the places with which the user begins.

    None if the response is more than text, or the messages are.
    """
    answer = read_answer(found.form, found.copy.content_type, found.copy.content())
    history = read_history(found.form, found.body) if answer else None
    if answer is None or history is None or found.copy.is_cut:
        return None
    encoded, is_plain = with_answer(history, answer)
    if not is_plain:
        return None
    return encoded, [place for place, turn in enumerate(history.turns) if turn.opens]
