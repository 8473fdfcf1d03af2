"""Remembers who makes a batch, and settles its cost when its results are read."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.addons.metering import unframe
from wirekey.core.metering.json_response import word
from wirekey.features.batches.reading import BatchResponse, Results, ShownBatches
from wirekey.features.batches.record import record_of
from wirekey.features.batches.settling import Settlement, run_token
from wirekey.features.batches.spending import Spending
from wirekey.features.batches.store import BatchStore, BatchStoreError
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.features.batches.record import BatchRecord
    from wirekey.providers.batches import BatchApi, SeenBatch

    type Find = Callable[[str, str], Awaitable[BatchRecord | None]]

logger = logging.getLogger(__name__)

OK = 200


class Batches(Addon):
    """Reads the responses of calls about batches as they pass, without holding or changing their bodies.

    It comes before `Metering`, which feeds the copies of a response. A response that broke off settles nothing.

    The next call about a batch may come at once, also to another process. So a response that shows batches has no
    `content-length`: its client waits for its end, which is sent when its facts are stored. A client that does not wait
    for it is most often known here: what is not found is looked up again after all that is being stored.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._storing: set[asyncio.Event] = set()
        """Those responses whose facts are being stored. Each event is set when they are."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Begin to read a response about batches."""
        state, response = self.calls.find(flow), flow.response
        if state is None or response is None or response.status_code != OK or not state.was_sent:
            return
        call = state.call
        api, name = api_of(call), call.operation.name if call.operation else ""
        if api is None:
            return
        new_spending = partial(Spending, provider_of(call), call.upstream)
        if name in api.creates or name in api.shows:
            state.response_copies += (BatchResponse(ShownBatches(api, new_spending)),)
            unframe(flow)  # mitmproxy sends the end after `response`
        elif name in api.results:
            state.response_copies += (BatchResponse(Results(api, new_spending())),)

    def response(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Store what a whole response has said."""
        state = self.calls.find(flow)
        copy = copy_of(state) if state else None
        if state is None or copy is None:
            return None
        copy.end()
        if copy.failed or (state.tap and state.tap.broken) or state.call.outcome is not None:
            return None
        return self.note(state, copy)

    def error(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Store what a response has said that broke off after its last byte, as clients of HTTP/2 may end it."""
        state = self.calls.find(flow)
        if state is None:
            return None
        copy = copy_of(state)
        if copy is not None:
            copy.end()
            received = str(state.tap.received) if state.tap else ""
            is_whole = flow.response is not None and flow.response.headers.get("content-length") == received
            knows = isinstance(copy.reader, ShownBatches) and copy.reader.reader.finished
            if not copy.failed and (is_whole or knows):
                return self.note(state, copy)
        self.warn_of_unknown_batch(state)
        return None

    def warn_of_unknown_batch(self, state: CallState) -> None:
        """Warn of a call that may have made a batch of which not even the id is known."""
        call = state.call
        api = api_of(call)
        if api is None or call.operation is None or call.operation.name not in api.creates or not state.was_sent:
            return
        if call.status is None or call.status == OK:
            logger.warning(
                "a call of %s ended before %s said which batch it has made. If there is one, its cost is charged to "
                "nobody.",
                call.agent.id if call.agent else "nobody",
                call.provider,
                extra={"call": call.id},
            )

    async def note(self, state: CallState, copy: BatchResponse) -> None:
        """Store what a response has said."""
        call = state.call
        api, store = api_of(call), self.services.opened.find(BatchStore)
        assert api
        assert call.operation
        if store is None:
            return
        find, stored = partial(find_after, tuple(self._storing), store), asyncio.Event()
        self._storing.add(stored)
        try:
            if isinstance(copy.reader, Results):
                await self.note_results(store, find, call, copy.reader)
                return
            for batch in copy.reader.batches:
                if call.operation.name in api.creates:
                    headers = dict(state.request.headers.items()) if state.request else {}
                    lower = {name.lower(): headers[name] for name in headers}
                    run = run_token(self.services, call.agent)
                    record = record_of(batch.id, batch.model, call, lower, run)
                    await store.remember(provider_of(call), batch.id, record)
                await self.note_batch(store, find, call, batch, copy.reader)
        except BatchStoreError as error:
            logger.warning(
                "a batch of %s is not remembered or not settled: %s. If it was made before, the next reading of its "
                "results settles it.",
                call.provider,
                error,
                extra={"call": call.id},
            )
        finally:
            self._storing.discard(stored)
            stored.set()

    async def note_batch(
        self, store: BatchStore, find: Find, call: Call, batch: SeenBatch, shown: ShownBatches
    ) -> None:
        """Remember whose results a name leads to, and settle a batch whose usage is known. Raises BatchStoreError."""
        provider = provider_of(call)
        spending = shown.spending
        if batch.results is None and batch.usage is None and spending is None:
            return
        record = await find(provider, batch.id)
        if record is None:
            return
        if batch.results is not None and batch.results != batch.id:
            await store.remember(provider, batch.results, record)
        if spending is None and batch.usage is not None:
            spending = Spending(provider, call.upstream, batch.model or record.model)
            spending.add_sum(batch.usage, batch.requests)
        if spending is not None:
            await Settlement(self.services, store).settle(record, spending, call.agent)

    async def note_results(self, store: BatchStore, find: Find, call: Call, results: Results) -> None:
        """Settle a batch whose results were read. Raises BatchStoreError."""
        found = results.api.results_path.search(call.path)
        name = word(found[1]) if found else None
        if name is None or not (results.spending.requests or results.unread):
            return
        record = await find(provider_of(call), name)
        if record is None:
            if results.spending.requests:
                logger.warning(
                    "the results %s of %s are of a batch that Wirekey does not know. Its cost is charged to nobody.",
                    name,
                    call.provider,
                    extra={"call": call.id},
                )
            return
        results.spending.add_unknown(results.unread)
        await Settlement(self.services, store).settle(record, results.spending, call.agent)


async def find_after(
    storing: Sequence[asyncio.Event], store: BatchStore, provider: str, name: str
) -> BatchRecord | None:
    """Return the record of a batch, or None. Raises BatchStoreError.

    `storing`: events of responses that ended before, of which the record may still be stored.
    """
    record = await store.find(provider, name)
    if record is None and storing:
        for stored in storing:
            await stored.wait()
        record = await store.find(provider, name)
    return record


def provider_of(call: Call) -> str:
    """Return the provider that a call is sent to."""
    name = call.upstream_provider or call.provider
    assert name
    return name


def api_of(call: Call) -> BatchApi | None:
    """Return the operations about batches of the provider that a call is sent to."""
    name = call.upstream_provider or call.provider
    return PROVIDERS[name].batches if name else None


def copy_of(state: CallState) -> BatchResponse | None:
    """Return the copy that is read of the response of a call."""
    return next((copy for copy in state.response_copies if isinstance(copy, BatchResponse)), None)
