"""What each part of a call costs: python -m tests.benchmarks.parts [--rounds N] [--only WORD]

Measures bare mitmdump, a proxy that has only the wire layer, Wirekey without one part or several, and Wirekey, in
interleaved rounds. Prints the CPU time of a request, and in brackets its ratio to mitmdump. Leaving out one part also
saves what only this part needs, such as a thread, so the differences do not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import proxies, systems, wire_alone
from tests.benchmarks.comparison import Measurements, ratios
from tests.benchmarks.rows import ROWS, Row, measure_all
from tests.benchmarks.systems import Cores
from wirekey.core.audit.event import outcome_values, request_values
from wirekey.core.audit.store import AuditStore
from wirekey.core.call_events import CallEvents
from wirekey.core.policy.decision import Decision
from wirekey.core.policy.engine import EmbeddedEngine

ALLOWED = Decision(allow=True)


def do_not_wait() -> None:
    """Send each call before its start is recorded."""

    async def record_intent(store, call):
        store._loop = asyncio.get_running_loop()
        # A future that nobody waits for: without one, the writer leaves the row out.
        store._gathering.waiting.append(store._loop.create_future())
        store._gather(store._gathering.intents, request_values(call) + outcome_values(call))

    AuditStore.record_intent = record_intent


def do_not_record() -> None:
    """Record neither the start nor the end of a call."""

    async def record_intent(store, call):
        pass

    AuditStore.record_intent = record_intent
    AuditStore.record_outcome = lambda store, call: None


def do_not_decide() -> None:
    """Allow each call without the policy."""
    EmbeddedEngine.decide_at_once = lambda policy, given: ALLOWED


def do_not_observe() -> None:
    """Leave out metrics and all else that observes calls."""
    CallEvents.began = CallEvents.ended = lambda events, call: None


def leave_out_all() -> None:
    """Leave out all of these parts."""
    for leave_out in (do_not_record, do_not_decide, do_not_observe):
        leave_out()


PARTS: dict[str, Callable[[], None]] = {
    "waiting for the audit log": do_not_wait,
    "the audit log": do_not_record,
    "the policy": do_not_decide,
    "metrics": do_not_observe,
    "all of these": leave_out_all,
}
"""The name of a part → the function that leaves it out of Wirekey in this process."""
OURS = ("wire layer alone", *PARTS, "wirekey")


def serve_without(part: str, arguments: list[str]) -> None:
    """Run Wirekey in this process without a part."""
    from wirekey.cli.main import main as wirekey

    PARTS[part]()
    sys.argv = ["wirekey", *arguments]
    wirekey()


def table(chosen: list[Row], found: dict[str, Measurements]) -> str:
    """Return the table of docs/performance.md."""
    lines = ["| | " + " | ".join(row.name for row in chosen) + " |", "|---" * (len(chosen) + 1) + "|"]
    for name in ("mitmdump", *OURS):
        cells = [cell(found[row.name], row.against, row.against if name == "mitmdump" else name) for row in chosen]
        shown = f"Wirekey without {name}" if name in PARTS else name.replace("wirekey", "Wirekey")
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(found: Measurements, against: str, name: str) -> str:
    """Return the milliseconds of a system, and their ratio to mitmdump."""
    if name not in found:
        return "–"
    shown = f"{statistics.median(found[name]):.2f}"
    return shown if name == against else f"{shown} ({statistics.median(ratios(found[against], found[name])):.2f})"


def main() -> None:
    if sys.argv[1:2] == ["--without"]:
        serve_without(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", metavar="WORD", help="only rows with this in their names")
    options = parser.parse_args()
    small = [row for row in ROWS if row.unit == "ms/request" and "1 MB" not in row.name]
    chosen = [row for row in small if not options.only or any(word in row.name for word in options.only)]
    cores = Cores.chosen()
    cores.pin_load()
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        port = stack.enter_context(proxies.upstream(folder))
        running = [
            stack.enter_context(systems.bare(name, folder, port, cores))
            for name in sorted({row.against for row in chosen})
        ]
        running.append(stack.enter_context(wire_alone.wire_layer(folder, port, cores)))
        for part in PARTS:
            module = ("tests.benchmarks.parts", "--without", part)
            running.append(stack.enter_context(systems.wirekey(folder, port, cores, part, module)))
        running.append(stack.enter_context(systems.wirekey(folder, port, cores)))
        found = asyncio.run(measure_all(chosen, running, OURS, options.rounds, 1.0))
    print(table(chosen, found))


if __name__ == "__main__":
    main()
