"""How a provider runs many requests as one batch, whose cost is known when its results are.

A batch is made by one call and read by others, perhaps days later. `BatchApi` says which operations these are, and how
their responses are read: those that show a batch, and the results, which have one response in each line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from wirekey.core.metering.json_response import JsonReader

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from wirekey.core.operation import Usage

BATCH_TIER = ("service_tier", "batch")
"""The modifier of the price of a request in a batch."""


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """A batch, as a response shows it."""

    id: str
    model: str | None = None
    results: str | None = None
    """The name by which its results are read; None if it has none yet."""
    usage: Usage | None = None
    """The use of all its requests; None if the response does not say it, or the batch has not ended."""
    requests: int = 0
    """The number of requests that `usage` counts."""
    has_ended: bool = True
    """Whether the results in the response are all."""


class CountResult(Protocol):
    """Counts a result that a response which shows a batch has in it."""

    def __call__(self, place: int, usage: Usage | None) -> None:
        """Add the usage of a result; None if it is unknown.

        A response may have all results at several places. Those at the first place that has any count.
        """


class BatchReader(Protocol):
    """Reads a response that shows one batch or several, as it passes. It never raises, and keeps no content."""

    batches: list[SeenBatch]
    finished: bool
    """Whether the whole response was understood."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response."""

    def end(self) -> None:
        """Read what is left once the response has ended."""


class BatchResult(JsonReader):
    """Reads one line of results, as it passes. It never raises, and holds at most a mebibyte of the line."""

    response: ClassVar[type[JsonReader]]
    """Reads the response in the line."""

    def __init__(self) -> None:
        super().__init__()
        self.is_result = False
        """Whether the line is the result of a request."""
        self.is_billed = False
        """Whether the request had a response. One that failed, expired or was cancelled costs nothing."""

    def read_response(self, body: bytes) -> bool:
        """Learn the usage from the response in the line; return whether it was understood. Never raises."""
        inner = self.response()
        inner.feed(body)
        inner.end()
        self.usage = inner.usage
        return inner.finished

    def read_response_ends(self, head: bytes, tail: bytes) -> None:
        """Learn the usage from both ends of a line that was too long to be held. Never raises."""
        inner = self.response()
        inner.read_fragment(head, tail)
        self.usage = inner.usage


@dataclass(frozen=True, slots=True)
class BatchApi:
    """The operations of a provider about batches."""

    creates: tuple[str, ...]
    """Those that make a batch. Their responses show it."""
    shows: tuple[str, ...]
    """The others whose responses show batches."""
    results: tuple[str, ...]
    """Those whose responses may be results."""
    reader: Callable[[CountResult], BatchReader]
    """Returns the reader of a response that shows batches."""
    result_reader: Callable[[], BatchResult]
    """Returns the reader of a line of results."""
    results_path: re.Pattern[str]
    """Finds the name of the results in a raw path that reads them."""
    path_of: Callable[[str], str]
    """Returns the path of a batch."""
    request: str
    """The operation of each request, whose usage is counted alike."""
