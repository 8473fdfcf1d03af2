"""Gemini's batches: https://ai.google.dev/gemini-api/docs/batch-api. Their results are a file, or in the batch itself.

A batch with its results may be large, so it is read as it passes. Google has the results at two places: in `response`,
and in `metadata.output`. They are found by the number of brackets around them, which no text of a program or of a model
changes.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_array import JsonArrayReader
from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, word
from wirekey.providers.batches import BatchApi, BatchResult, SeenBatch
from wirekey.providers.gemini.responses import GeminiJsonReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.operation import Usage
    from wirekey.providers.batches import CountResult

FILE_RESULTS = re.compile(r"/(files/[^/:]+):download\Z")
ENDED = re.compile(r"(?:BATCH|JOB)_STATE_(?:SUCCEEDED|FAILED|CANCELLED|EXPIRED)")
FIRST_NAME = re.compile(rb'\s*\{\s*"name"\s*:\s*"(batches/[A-Za-z0-9_-]{1,100})"')
RESULT = re.compile(rb'\s*\{.*?"response"[ \t\r\n]*:[ \t\r\n]*\{', re.DOTALL)
IN_RESPONSE, IN_OUTPUT = 4, 5
"""The number of brackets around a result in `response.inlinedResponses.inlinedResponses`, and in `metadata.output`."""


_ABSENT = msgspec.Raw(b"null")


class _Output(msgspec.Struct, rename="camel"):
    responses_file: str | None = None


class _Metadata(msgspec.Struct):
    model: str | None = None
    state: str | None = None
    output: _Output | None = None


class _Batch(msgspec.Struct):
    name: str | None = None
    metadata: _Metadata | None = None
    done: bool = False
    response: _Output | None = None
    operations: list[_Batch] | None = None


class _Result(msgspec.Struct):
    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_batches = msgspec.json.Decoder(_Batch)
_results = msgspec.json.Decoder(_Result)


class _Skeleton(JsonReader):
    """The names in a batch, or in a page of them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[SeenBatch] = []

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body; return whether it was understood. Never raises."""
        try:
            found = _batches.decode(data)
        except DECODE_ERRORS:
            # A model may nest brackets deeper than the decoder goes.
            self.read_fragment(data, data)
            return data.rstrip(b" \t\r\n").endswith(b"}")
        self.batches += map(seen, filter(_is_batch, (found,) if found.operations is None else found.operations))
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn the name of a batch with many results, which comes first. It has ended. Never raises."""
        if name := FIRST_NAME.match(head):
            self.batches.append(SeenBatch(name[1].decode()))


def _is_batch(batch: _Batch) -> bool:
    return batch.name is not None and batch.name.startswith("batches/") and word(batch.name) is not None


def seen(batch: _Batch) -> SeenBatch:
    """Return what a batch says of itself."""
    assert batch.name
    metadata = batch.metadata or _Metadata()
    outputs = (batch.response, metadata.output)
    file = next((output.responses_file for output in outputs if output and output.responses_file), None)
    model = word((metadata.model or "").removeprefix("models/"))
    ended = batch.done or ENDED.fullmatch(metadata.state or "") is not None
    return SeenBatch(batch.name, model, word(file), has_ended=ended)


class _InlinedResults(JsonArrayReader):
    """The results at one depth. Everything else at this depth lacks a response."""

    def __init__(self, depth: int, count: Callable[[Usage | None], None]) -> None:
        super().__init__()
        self.depth = depth
        self.count = count

    @property
    def is_closed(self) -> bool:
        """Whether all brackets are closed."""
        return self._depth == 0 and not self._in_string

    def interested(self, data: bytes) -> bool:
        """Return whether these bytes may have a result."""
        return b'"response"' in data

    def read_event(self, data: bytes) -> None:
        """Count the usage of one result. Never raises."""
        line = GeminiResult()
        line.feed(data)
        line.end()
        is_unread = data.startswith(b"{") and not (line.is_result or line.finished)
        if line.is_billed or is_unread:
            self.count(line.usage if line.usage.input_tokens is not None else None)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Count the usage of a result that was too long to be held. Never raises."""
        line = GeminiResult()
        line.read_fragment(head, tail)
        if line.is_billed:
            self.count(line.usage if line.usage.input_tokens is not None else None)


class GeminiBatches:
    """A BatchReader of a batch with its results, or of a page of batches."""

    def __init__(self, count: CountResult) -> None:
        self.batches: list[SeenBatch] = []
        self.finished = False
        self._skeleton = _Skeleton()
        self._results = tuple(_InlinedResults(depth, partial(count, depth)) for depth in (IN_RESPONSE, IN_OUTPUT))

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response."""
        self._skeleton.feed(data)
        for reader in self._results:
            reader.feed(data)

    def end(self) -> None:
        """Read what is left once the response has ended."""
        self._skeleton.end()
        self.batches = self._skeleton.batches
        # Of a large batch, the skeleton sees only both ends. A part of it may end with a bracket, too.
        self.finished = self._skeleton.finished and all(reader.is_closed for reader in self._results)
        for reader in self._results:
            reader.end()


class GeminiResult(BatchResult):
    """One line, or one result in a batch."""

    response = GeminiJsonReader

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole line; return whether it was understood. Never raises."""
        try:
            line = _results.decode(data)
        except DECODE_ERRORS:
            return False
        self.is_billed = line.response != _ABSENT
        self.is_result = self.is_billed or line.error != _ABSENT
        return self.read_response(bytes(line.response)) if self.is_billed else True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of a line that was too long to be held. Never raises."""
        self.is_result = self.is_billed = RESULT.match(head) is not None
        self.read_response_ends(head, tail)


def path_of(batch: str) -> str:
    """Return the path of a batch."""
    return f"/v1beta/{batch}"


BATCHES = BatchApi(
    creates=("batchGenerateContent", "asyncBatchEmbedContent"),
    shows=("batches.get", "batches.list"),
    results=("files.download",),
    reader=GeminiBatches,
    result_reader=GeminiResult,
    results_path=FILE_RESULTS,
    path_of=path_of,
    request="generateContent",
)
