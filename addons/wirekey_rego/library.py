"""Engines of the library regorus, each owned by the thread that created it.

An engine must be freed by its own thread: in another thread the library warns and leaks it. Exceptions and reference
cycles can end in any thread, so only a table of the thread refers to an engine.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any

import regorus

from wirekey_rego.errors import EvaluationError

_PASSING_ON = (KeyboardInterrupt, SystemExit, GeneratorExit)


class _Table(threading.local):
    """The engines of one thread, by number. They end with the thread."""

    def __init__(self) -> None:
        self.engines: dict[int, regorus.Engine] = {}


_table = _Table()
_numbers = itertools.count()
_ended: set[int] = set()
"""Engines that are no longer used. Their threads free them when they next create or use one."""


class RegorusError(EvaluationError):
    """The library's error. Its text has the position, in a picture of the line."""


class RegorusEngine:
    """An engine that belongs to the thread that creates it. Only that thread frees it."""

    def __init__(self) -> None:
        free_ended()
        self._number = next(_numbers)
        _table.engines[self._number] = regorus.Engine()

    def __del__(self) -> None:
        _ended.add(self._number)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the engine. Raises RegorusError for any error of the library."""
        if _ended:
            free_ended()
        if self._number not in _table.engines:
            raise RegorusError("The engine belongs to another thread.")
        try:
            return getattr(_table.engines[self._number], method)(*arguments)
        except _PASSING_ON:
            raise
        except BaseException as error:  # a panic of the library is not an Exception
            text = str(error) or type(error).__name__
        raise RegorusError(text)


def free_ended() -> None:
    """Free the engines of this thread that are no longer used."""
    for number in _ended & _table.engines.keys():
        del _table.engines[number]
        _ended.discard(number)
