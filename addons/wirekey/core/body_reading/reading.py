"""Reads one JSON body: checks it, and finds the facts of its call and the places of its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.json_size import check_size, check_utf8, estimated_values, may_exceed
from wirekey.core.operation import Facts  # noqa: TC001  # its fields are read by the type of a reply
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody, SpooledBody
    from wirekey.core.operation import Operation

ALWAYS_READ_HERE = 16 * 1024
"""Bytes of a body that is read at once, whatever is in it: at most a millisecond or two."""
NEVER_READ_HERE = 1024 * 1024
"""Bytes of a body above which reading it takes milliseconds, whatever is in it."""
VALUES_READ_HERE = 10_000
"""Values of a body whose reading takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class ReadTask:
    """How one body is to be read. `operation`: None if the body is only checked. `query`: of the request, decoded."""

    provider: str
    operation: Operation | None
    query: Mapping[str, str]
    content_type: str
    values_limit: int
    checked: int | None = None
    """An upper bound of its values, if they were counted and its UTF-8 was checked before."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading one body."""

    facts: Facts | None
    values: int
    """An upper bound of its JSON values."""
    spans: dict[str, tuple[int, int]] | None
    """The offsets of its members' values, if it was read as one object."""


def is_costly(body: RequestBody) -> bool:
    """Return whether reading a body would keep the event loop from other calls for more than a few milliseconds."""
    if not isinstance(body, bytes):
        return True
    size = len(body)
    return size > ALWAYS_READ_HERE and (size > NEVER_READ_HERE or estimated_values(body) > VALUES_READ_HERE)


def check_values(body: RequestBody, limit: int) -> None:
    """Raise Refusal(413) if a body that is not costly has more than `limit` values."""
    if may_exceed(body, limit) and not _was_estimated(len(body), limit):
        check_size(body, limit)


def _was_estimated(size: int, limit: int) -> bool:
    # Nine tenths of such a body would have to consist of values, and none of 16 places that were chosen at random did.
    return size > ALWAYS_READ_HERE and 2 * limit > 0.9 * size > 20 * VALUES_READ_HERE


def read(task: ReadTask, body: SpooledBody) -> Reading:
    """Check a body before anything of it is decoded, and read the facts. Raises Refusal."""
    values = task.checked
    if values is None:
        values = check_size(body, task.values_limit)
        try:
            check_utf8(body)
        except UnicodeDecodeError:
            raise malformed("it is not UTF-8") from None
    body.values = values
    facts = None
    if task.operation is not None:
        facts = PROVIDERS[task.provider].operations.read_request(task.operation, task.query, task.content_type, body)
    return Reading(facts, values, body.spans)
