"""Anthropic's message batches: https://docs.anthropic.com/en/api/creating-message-batches. Results have no file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, word
from wirekey.providers.anthropic.responses import AnthropicJson
from wirekey.providers.batches import BatchApi, BatchResult, SeenBatch

if TYPE_CHECKING:
    from wirekey.providers.batches import CountResult

RESULTS = re.compile(r"/messages/batches/([^/]+)/results\Z")
SUCCEEDED = "succeeded"
SUCCESS = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*"succeeded"')
RESULT = re.compile(rb'"result"[ \t\r\n]*:[ \t\r\n]*\{')


class _Batch(msgspec.Struct):
    id: str | None = None
    type: str | None = None
    results_url: str | None = None
    data: list[_Batch] | None = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: msgspec.Raw
    result: _Result


_batches = msgspec.json.Decoder(_Batch)
_lines = msgspec.json.Decoder(_Line)


class AnthropicBatches(JsonReader):
    """A BatchReader of a batch, or of a page of them. They do not say what they have used."""

    def __init__(self, _: CountResult) -> None:
        super().__init__()
        self.batches: list[SeenBatch] = []

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body; return whether it was understood. Never raises."""
        try:
            found = _batches.decode(data)
        except DECODE_ERRORS:
            return False
        for batch in (found,) if found.data is None else found.data:
            if (name := word(batch.id)) and batch.type == "message_batch":
                self.batches.append(SeenBatch(name, results=name if batch.results_url else None))
        return True


class AnthropicResult(BatchResult):
    """One line: a message, or the reason for its absence."""

    response = AnthropicJson

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole line; return whether it was understood. Never raises."""
        try:
            line = _lines.decode(data)
        except DECODE_ERRORS:
            return False
        self.is_result, self.is_billed = True, line.result.type == SUCCEEDED
        return self.read_response(bytes(line.result.message)) if self.is_billed else True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of a line that was too long to be held. Never raises."""
        self.is_result = b'"custom_id"' in head and RESULT.search(head) is not None
        self.is_billed = self.is_result and SUCCESS.search(head) is not None
        self.read_response_ends(head, tail)


def path_of(batch: str) -> str:
    """Return the path of a batch."""
    return f"/v1/messages/batches/{batch}"


BATCHES = BatchApi(
    creates=("messages.batches.create",),
    shows=("messages.batches.get", "messages.batches.list", "messages.batches.cancel"),
    results=("messages.batches.results",),
    reader=AnthropicBatches,
    result_reader=AnthropicResult,
    results_path=RESULTS,
    path_of=path_of,
    request="messages",
)
