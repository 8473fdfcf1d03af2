"""Imports extensions and runs them, each within its time limit and away from the event loop of the proxy."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from wirekey.core.errors import Refusal
from wirekey.core.header_names import NAME
from wirekey.core.model_name import ModelName, ModelNameError
from wirekey.extension import MAX_VALUE_LENGTH, REFUSED_HEADERS, ExtensionError, Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.secret import Secret
    from wirekey.extension import CallInfo, Function, Head, KeyFunction, ModelFunction

TIME_LIMIT = 10.0
"""Seconds for a function, and again for a signer."""
KEY_TIME_LIMIT = 5.0
"""Seconds for a function that checks a key."""
LONGEST_TIME_LIMIT = 60.0
THREADS = 32
MAX_HEADERS = 32

METHODS = ("on_request", "on_response", "on_end")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="extension")


@cache
def extension_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of `async` extensions, which runs in a thread of its own from the first use on."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="extensions", daemon=True).start()
    return loop


async def run_limited(name: str, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function of an extension and return its result. Raises ExtensionError; passes a Refusal on.

    An `async` function runs on the loop of extensions, any other in a thread.
    """
    try:
        async with asyncio.timeout(seconds):
            if not inspect.iscoroutinefunction(function):
                result = await asyncio.get_running_loop().run_in_executor(_threads, contained, function, *arguments)
                return await on_extension_loop(result) if inspect.isawaitable(result) else result
            return await on_extension_loop(function(*arguments))
    except TimeoutError:
        raise ExtensionError(f"{name} did not return within {seconds:g} s") from None
    except Refusal:
        raise
    except ExtensionError as error:
        raise ExtensionError(f"{name} failed: {error}") from None
    except Exception as error:
        # Without its message, which may contain a secret or content.
        raise ExtensionError(f"{name} failed: {type(error).__name__}") from error


def contained(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function. Raises what it raises, except for `sys.exit`, which would end Wirekey."""
    try:
        return function(*arguments)
    except (SystemExit, KeyboardInterrupt):
        raise ExtensionError("it wanted to exit") from None


async def on_extension_loop(result: Any) -> Any:
    """Wait for an awaitable on the loop of extensions. If the caller is cancelled, so is the awaitable."""

    async def awaited() -> Any:
        try:
            return await result
        except (SystemExit, KeyboardInterrupt):
            raise ExtensionError("it wanted to exit") from None

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(), extension_loop()))


def load_object(name: str, folder: Path, what: str) -> Any:
    """Import the object of `python:MODULE:NAME`. `folder` is searched last; `what` names the kind of the object.

    Raises ExtensionError.
    """
    _, module_name, object_name = name.split(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        raise ExtensionError(
            f"there is no Python module {missing}. Put {missing}.py beside the configuration, or install it into "
            "Wirekey's .venv"
        ) from None
    except Exception as error:
        where = f"{type(error).__name__}: {error}"
        raise ExtensionError(f"the module {module_name} cannot be imported: {where[:200]}") from None
    found = getattr(module, object_name, None)
    if not callable(found):
        raise ExtensionError(f"the module {module_name} has no {what} {object_name}")
    return found


@dataclass(frozen=True, slots=True)
class Extension:
    """An imported function that makes a credential. `name` is `python:MODULE:FUNCTION`."""

    name: str
    function: Function

    @classmethod
    def load(cls, name: str, folder: Path) -> Extension:
        """Import a function. `folder`, that of the configuration, is searched last. Raises ExtensionError."""
        return cls(name, load_object(name, folder, "function"))

    async def headers(self, call: CallInfo, head: Head, body: bytes | None) -> list[tuple[bytes, bytes]]:
        """Call the function, and return the headers to set. Raises ExtensionError."""
        result = await run_limited(self.name, TIME_LIMIT, self.function, call, head)
        if not isinstance(result, Mapping) and isinstance(result, Signer):
            result = await run_limited(self.name, TIME_LIMIT, result.sign, head, body)
        return checked_headers(self.name, result)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """An imported function that chooses the model of each call. `name` is `python:MODULE:FUNCTION`."""

    name: str
    function: ModelFunction

    @classmethod
    def load(cls, name: str, folder: Path) -> ModelChoice:
        """Import a function. `folder`, that of the configuration, is searched last. Raises ExtensionError."""
        return cls(name, load_object(name, folder, "function"))

    async def model(self, call: CallInfo, head: Head) -> ModelName | None:
        """Call the function, and return the model to send; None for the requested one. Raises ExtensionError."""
        result = await run_limited(self.name, TIME_LIMIT, self.function, call, head)
        if result is None:
            return None
        if not isinstance(result, str):
            raise ExtensionError(f"{self.name} returned neither the name of a model nor None")
        try:
            chosen = ModelName.parse(result)
        except ModelNameError as error:
            raise ExtensionError(f"{self.name} returned a model whose name {error}") from None
        if chosen.destination:
            raise ExtensionError(f"{self.name} returned a model with a provider. Use a route with provider instead")
        return chosen


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """An imported function that checks keys. `name` is `python:MODULE:FUNCTION`."""

    name: str
    function: KeyFunction

    @classmethod
    def load(cls, name: str, folder: Path) -> KeyCheck:
        """Import a function. `folder`, that of the configuration, is searched last. Raises ExtensionError."""
        return cls(name, load_object(name, folder, "function"))

    async def result(self, key: Secret, place: str) -> object:
        """Call the function, and return what it returns. Raises ExtensionError."""
        try:
            return await run_limited(self.name, KEY_TIME_LIMIT, self.function, key, place)
        except Refusal:
            # Its text goes to the client and to the audit, and could quote the key.
            raise ExtensionError(f"{self.name} failed: it may not raise a Refusal") from None


@dataclass(frozen=True, slots=True, eq=False)
class RequestHook:
    """An object of an operator's class of request hooks. `name` is `python:MODULE:CLASS`."""

    name: str
    instance: Any
    on_request: Callable[..., Any] | None
    on_response: Callable[..., Any] | None
    on_end: Callable[..., Any] | None
    time_limit: float
    keeps_response_body: bool

    @classmethod
    def load_class(cls, name: str, folder: Path) -> type:
        """Import the class. Raises ExtensionError."""
        found = load_object(name, folder, "class")
        if not inspect.isclass(found) or not any(is_defined(found, method) for method in METHODS):
            raise ExtensionError(f"{name} is not a class with at least one of {', '.join(METHODS)}")
        limit = getattr(found, "time_limit", TIME_LIMIT)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= LONGEST_TIME_LIMIT:
            raise ExtensionError(f"time_limit of {name} must be a number of seconds up to {LONGEST_TIME_LIMIT:g}")
        return found

    @classmethod
    def load(cls, name: str, folder: Path, previous: tuple[RequestHook, ...] = ()) -> RequestHook:
        """Import the class and make its object. One of `previous` is kept, with its state. Raises ExtensionError."""
        found = cls.load_class(name, folder)
        for hook in previous:
            if hook.name == name and type(hook.instance) is found:
                return hook
        try:
            instance = found()
        except Exception as error:
            raise ExtensionError(f"{name} cannot be made: {type(error).__name__}") from error
        on_request, on_response, on_end = (
            getattr(instance, method) if is_defined(found, method) else None for method in METHODS
        )
        return cls(
            name,
            instance,
            on_request,
            on_response,
            on_end,
            time_limit=getattr(found, "time_limit", TIME_LIMIT),
            keeps_response_body=bool(getattr(found, "keeps_response_body", False)),
        )


def is_defined(kind: type, method: str) -> bool:
    """Return whether a class has a method of its own, rather than the empty one of `extension.Hooks`."""
    from wirekey.extension import Hooks

    found = getattr(kind, method, None)
    return callable(found) and found is not getattr(Hooks, method)


def checked_headers(name: str, headers: Any) -> list[tuple[bytes, bytes]]:
    """Return what a credential function returned as header fields. Raises ExtensionError if one is not allowed."""
    if not isinstance(headers, Mapping):
        raise ExtensionError(f"{name} returned neither a mapping of headers nor an object with a method sign")
    if len(headers) > MAX_HEADERS:
        raise ExtensionError(f"{name} returned more than {MAX_HEADERS} headers")
    fields = []
    for header, value in headers.items():
        if not isinstance(header, str) or not NAME.fullmatch(header):
            raise ExtensionError(f"{name} returned a header with an invalid name")
        if header.lower() in REFUSED_HEADERS:
            raise ExtensionError(f"{name} may not set the header {header.lower()}")
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()) or len(value) > MAX_VALUE_LENGTH:
            raise ExtensionError(f"{name} returned an invalid value for the header {header}")
        fields.append((header.encode(), value.encode()))
    return fields
