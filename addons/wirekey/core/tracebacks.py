"""Describes an exception for the log by its type and place, without its message, which may quote content."""

from __future__ import annotations

import traceback
from pathlib import PurePath

MAX_PLACES = 8


def safe_traceback(error: BaseException) -> str:
    """Return the type and places of an exception and its causes, without messages.

    For example `ValueError at file.py:12 in read < file.py:5 in call`, with the innermost place first.
    """
    seen: list[str] = []
    current: BaseException | None = error
    while current is not None and len(seen) < MAX_PLACES:
        frames = traceback.extract_tb(current.__traceback__)[-MAX_PLACES:]
        places = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames[::-1])
        seen.append(f"{type(current).__name__} at {places}" if places else type(current).__name__)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "; caused by ".join(seen)


def forget_frames(error: Exception) -> None:
    """Remove the traceback of an exception that was handled.

    Many refusals are constants. Each time one is raised, Python adds the frames, and all that they refer to, to the
    traceback that it already has.
    """
    error.with_traceback(None)
