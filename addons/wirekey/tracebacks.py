"""How an exception is spoken of in the log: what kind, and where. Not its message, which may quote what it met."""

from __future__ import annotations

import traceback
from pathlib import PurePath

PLACES = 8


def safe_traceback(error: BaseException) -> str:
    """Give `ValueError at file.py:12 in read < file.py:5 in call`, innermost place first, with its causes."""
    seen: list[str] = []
    current: BaseException | None = error
    while current is not None and len(seen) < PLACES:
        frames = traceback.extract_tb(current.__traceback__)[-PLACES:]
        places = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames[::-1])
        seen.append(f"{type(current).__name__} at {places}" if places else type(current).__name__)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "; caused by ".join(seen)
