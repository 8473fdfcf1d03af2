"""The record of who has made a batch: names with which its later cost is charged and recorded, and no content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call
from wirekey.core.labels import FoundLabels
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.core.policy.input import seen_headers
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTLEMENT = Operation("batch.settlement", Body.NONE, Kind.INFERENCE)
LONGEST_HEADER = 256


class BatchRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch, and the call that has made it. It is stored as JSON."""

    id: str
    call: str
    """The id of the call that has made it."""
    provider: str
    """The provider that the client called."""
    upstream_provider: str
    """The provider that has the batch."""
    client: str | None = None
    model: str | None = None
    agent: Agent | None = None
    run_token: str | None = None
    """The id of the token of its run. A later run may have the same name."""
    labels: tuple[tuple[str, str], ...] = ()
    """Those of headers."""
    invalid_labels: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    """Those that policies and quotas see."""
    route: str | None = None
    credential: str | None = None
    upstream: str | None = None
    simulated: bool = False


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(BatchRecord)


def record_of(
    batch: str, model: str | None, call: Call, headers: Mapping[str, str], run_token: str | None = None
) -> BatchRecord:
    """Return the record of a batch that a call has made. `headers`: the request's, by lower-case name.

    `run_token`: the id of the token of the run that it belongs to.
    """
    assert call.provider
    found = call.header_labels
    return BatchRecord(
        batch,
        call.id,
        call.provider,
        call.upstream_provider or call.provider,
        call.client,
        call.model or (call.facts.model if call.facts else None) or model,
        call.agent,
        run_token,
        found.accepted,
        found.invalid,
        {name: value for name, value in seen_headers(headers).items() if len(value) <= LONGEST_HEADER},
        call.route,
        call.credential,
        call.upstream,
        call.simulated,
    )


def encoded(record: BatchRecord) -> bytes:
    """Return a record as it is stored."""
    return _encode(record)


def decoded(data: bytes) -> BatchRecord | None:
    """Return a stored record, or None if it cannot be read or its provider is gone."""
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return record if record.upstream_provider in PROVIDERS and record.provider in PROVIDERS else None


def settlement_of(record: BatchRecord, model: str | None, *, in_run: bool = True) -> Call:
    """Return the call as which the cost of a batch is charged and recorded.

    `model`: the model of its results, if it is known. `in_run`: whether the run of the batch still exists.
    """
    api = PROVIDERS[record.upstream_provider].batches
    agent = record.agent
    call = Call(
        client=record.client,
        agent=agent if agent is None or in_run else replace(agent, run=None),
        header_labels=FoundLabels(record.labels, record.invalid_labels),
        provider=record.provider,
        method="SETTLE",
        path=api.path_of(record.id) if api else record.id,
        operation=SETTLEMENT,
        facts=Facts(model=record.model or model),
        model=model or record.model,
        route=record.route,
        credential=record.credential,
        upstream=record.upstream,
        upstream_provider=record.upstream_provider,
        parent_id=record.call,
        simulated=record.simulated,
    )
    call.service_tier = "batch"
    return call
