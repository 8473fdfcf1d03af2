"""Counts the instructions of Python that this process runs, for each function.

One signal begins, another one ends and writes the counts to a file. The counts do not depend on what else the machine
does, and hardly differ between runs. Work of compiled code, such as TLS and SQLite, is not in them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType

TOOL = 3
"""A tool number of sys.monitoring that nobody else uses."""
EVENTS = sys.monitoring.events
BEGIN, END = signal.SIGRTMIN, signal.SIGRTMIN + 1
"""Signals that neither mitmproxy nor Wirekey uses."""
COUNTED = EVENTS.INSTRUCTION | EVENTS.PY_START | EVENTS.PY_RESUME


def count_when_told(path: str) -> None:
    """Count between the two signals, in all threads, and write the counts to `path` as JSON.

    The file has a list for each function: file, first line, name, instructions, calls.
    """
    instructions: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def count_instruction(code: CodeType, _: int) -> None:
        instructions[code] += 1

    def count_call(code: CodeType, _: int) -> None:
        calls[code] += 1

    def begin(*_: object) -> None:
        sys.monitoring.set_events(TOOL, COUNTED)

    def end(*_: object) -> None:
        sys.monitoring.set_events(TOOL, 0)
        found = [
            (code.co_filename, code.co_firstlineno, code.co_qualname, count, calls[code])
            for code, count in instructions.items()
        ]
        instructions.clear()
        calls.clear()
        made = Path(f"{path}.{os.getpid()}")
        made.write_text(json.dumps(found))
        made.rename(path)

    sys.monitoring.use_tool_id(TOOL, "wirekey benchmark")
    sys.monitoring.register_callback(TOOL, EVENTS.INSTRUCTION, count_instruction)
    for event in (EVENTS.PY_START, EVENTS.PY_RESUME):
        sys.monitoring.register_callback(TOOL, event, count_call)
    signal.signal(BEGIN, begin)
    signal.signal(END, end)
