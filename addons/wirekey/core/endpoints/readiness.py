"""Whether this process is ready for calls, for each of its parts, and what the process depends on. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.local_response import local_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.local_response import LocalResponse


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """The content of /ready and /health. All reasons are in words that anyone may read.

    `parts`: name → why it is not ready, or None if it is ready. `workers`: the state of each worker if there are
    several. One that is not ready does not change the status, as the others serve its calls. `backends` are parts, too,
    of which none changes the status: other calls do not need them. `dependencies`: server that several machines share
    → why it cannot be used, or None. `rejected_changes`: file → that its change is not in use.
    """

    parts: Mapping[str, str | None] = field(default_factory=dict)
    workers: Sequence[Mapping[str, object]] = ()
    backends: Mapping[str, str | None] = field(default_factory=dict)
    dependencies: Mapping[str, str | None] = field(default_factory=dict)
    rejected_changes: Mapping[str, str] = field(default_factory=dict)


def readiness(report: ReadinessReport) -> LocalResponse:
    """Return status 200 if all parts are ready, otherwise 503. Dependencies are left to `health`."""
    ready = all(reason is None for reason in report.parts.values())
    body: dict[str, object] = {
        "status": "ready" if ready else "not ready",
        "parts": states({**report.parts, **report.backends}, "ready"),
    }
    if report.rejected_changes:
        body["rejected_changes"] = dict(report.rejected_changes)
    if report.workers:
        body["workers"] = list(report.workers)
    return local_json(200 if ready else 503, body)


def health(report: ReadinessReport) -> LocalResponse:
    """Return status 200, as the process is alive, and the state of each server that several machines share."""
    more = {"dependencies": states(report.dependencies, "available")} if report.dependencies else {}
    return local_json(200, {"status": "ok", **more})


def states(reasons: Mapping[str, str | None], word: str) -> dict[str, dict[str, object]]:
    """Return name → an object with whether there is no reason against it, under this word, and the reason."""
    return {
        name: {word: True} if reason is None else {word: False, "reason": reason} for name, reason in reasons.items()
    }
