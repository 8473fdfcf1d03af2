"""Whether this process is ready for calls, for each of its parts. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.local_response import local_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.local_response import LocalResponse


NO_PARTS: Mapping[str, str | None] = MappingProxyType({})


def readiness(
    parts: Mapping[str, str | None],
    workers: Sequence[Mapping[str, object]] = (),
    backends: Mapping[str, str | None] = NO_PARTS,
) -> LocalResponse:
    """Return status 200 if all parts are ready, otherwise 503.

    `parts`: name → why it is not ready, in words that anyone may read, or None if it is ready. `workers`: the state of
    each worker if there are several. One that is not ready does not change the status, as the others serve its calls.
    `backends` are parts, too, of which none changes the status: other calls do not need them.
    """
    states = {
        name: {"ready": True} if reason is None else {"ready": False, "reason": reason}
        for name, reason in {**parts, **backends}.items()
    }
    ready = all(reason is None for reason in parts.values())
    body: dict[str, object] = {"status": "ready" if ready else "not ready", "parts": states}
    return local_json(200 if ready else 503, {**body, "workers": list(workers)} if workers else body)
