"""OpenAI's batches: https://platform.openai.com/docs/api-reference/batch. Their results are files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, word
from wirekey.core.operation import Usage
from wirekey.providers.batches import BatchApi, BatchResult, SeenBatch
from wirekey.providers.openai.responses import OpenAiJson

if TYPE_CHECKING:
    from wirekey.providers.batches import CountResult

ENDED = ("completed", "expired", "cancelled")
"""The status of a batch whose requests are all counted."""
RESULTS = re.compile(r"/files/([^/]+)/content\Z")
FIRST_ERROR_STATUS = 400
RESULT = re.compile(rb'"response"[ \t\r\n]*:[ \t\r\n]*\{')

Sum = Annotated[int, msgspec.Meta(ge=0, le=10**14)]
"""The tokens of all requests of a batch."""


class _Details(msgspec.Struct):
    cached_tokens: Sum | None = None
    reasoning_tokens: Sum | None = None


class _Usage(msgspec.Struct):
    input_tokens: Sum | None = None
    output_tokens: Sum | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Counts(msgspec.Struct):
    completed: Sum = 0


class _Batch(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    status: str | None = None
    output_file_id: str | None = None
    usage: _Usage | None = None
    request_counts: _Counts | None = None
    data: list[_Batch] | None = None


class _Response(msgspec.Struct):
    status_code: int = 200
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: msgspec.Raw
    response: _Response | None
    error: msgspec.Raw = msgspec.Raw(b"null")


_batches = msgspec.json.Decoder(_Batch)
_lines = msgspec.json.Decoder(_Line)


class OpenAiBatches(JsonReader):
    """A BatchReader of a batch, or of a page of them."""

    def __init__(self, _: CountResult) -> None:
        super().__init__()
        self.batches: list[SeenBatch] = []

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body; return whether it was understood. Never raises."""
        try:
            found = _batches.decode(data)
        except DECODE_ERRORS:
            return False
        each = (found,) if found.data is None else found.data
        self.batches += [seen(batch) for batch in each if word(batch.id) and batch.object == "batch"]
        return True


def seen(batch: _Batch) -> SeenBatch:
    """Return what a batch says of itself."""
    assert batch.id
    requests = batch.request_counts.completed if batch.request_counts else 0
    usage = usage_of(batch.usage) if batch.usage and batch.status in ENDED else None
    return SeenBatch(batch.id, word(batch.model), word(batch.output_file_id), usage, requests)


def usage_of(counts: _Usage) -> Usage | None:
    """Return what all requests have used; None if no tokens are counted, as servers do that do not count them."""
    if not counts.input_tokens or counts.output_tokens is None:
        return None
    before, after = counts.input_tokens_details, counts.output_tokens_details
    return Usage(
        counts.input_tokens,
        counts.output_tokens,
        before.cached_tokens if before else None,
        after.reasoning_tokens if after else None,
    )


class OpenAiResult(BatchResult):
    """One line: the response to a request of any endpoint, or an error."""

    response = OpenAiJson

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole line; return whether it was understood. Never raises."""
        try:
            line = _lines.decode(data)
        except DECODE_ERRORS:
            return False
        self.is_result = True
        if line.response is None or line.response.status_code >= FIRST_ERROR_STATUS:
            return True
        self.is_billed = True
        return self.read_response(bytes(line.response.body))

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of a line that was too long to be held. Never raises."""
        self.is_result = self.is_billed = b'"custom_id"' in head and RESULT.search(head) is not None
        self.read_response_ends(head, tail)


def path_of(batch: str) -> str:
    """Return the path of a batch."""
    return f"/v1/batches/{batch}"


BATCHES = BatchApi(
    creates=("batches.create",),
    shows=("batches.get", "batches.list", "batches.cancel"),
    results=("files.content",),
    reader=OpenAiBatches,
    result_reader=OpenAiResult,
    results_path=RESULTS,
    path_of=path_of,
    request="chat.completions",
)
