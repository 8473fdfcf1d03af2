"""The extension point for credentials of other kinds: `auth: python:MODULE:FUNCTION` of a route.

Wirekey calls `FUNCTION(call, head)` for each attempt that uses the route. It returns the headers to set, or a `Signer`,
which is then called with the request as it is sent. Both may be `async`; other functions run in a thread. If one raises
an exception, takes longer than `TIME_LIMIT` or sets a header that it must not set, the call fails with 503, and nothing
is sent. The module is imported when the configuration is read. After a change of the module, restart Wirekey. The
function runs inside Wirekey's process, with access to everything in it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

TIME_LIMIT = 10.0
"""Seconds for the function, and again for the signer."""
THREADS = 8
MAX_HEADERS = 32
MAX_VALUE_LENGTH = 16 * 1024

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
REFUSED_HEADERS = frozenset(
    {
        # Destination and framing: with other values, another request would be sent than the one that was checked.
        "host", "content-length", "transfer-encoding", "content-encoding", "content-type",
        # Headers of a connection, not of a request (RFC 9110 section 7.6.1).
        "connection", "expect", "keep-alive", "te", "trailer", "upgrade", "proxy-connection",
        "proxy-authorization", "proxy-authenticate",
        "x-http-method", "x-http-method-override", "x-method-override",
    }
)  # fmt: skip
"""Header names, in lower case, that an extension must not set."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """The call for which credentials are needed. A field is None if it is unknown or does not apply."""

    id: str
    agent_id: str | None
    agent_role: str | None
    agent_type: str | None
    provider: str
    operation: str
    requested_model: str | None
    model: str | None
    """The model that is sent to the provider."""
    stream: bool
    route: str
    """The label of the route, such as `routes[2]`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the request as it is sent, without credentials. Header names are as the client wrote them."""

    method: str
    host: str
    """Host name, with the port unless it is 443."""
    path: str
    """Path and query as they are sent."""
    headers: tuple[tuple[str, str], ...]


type Headers = Mapping[str, str]


@runtime_checkable
class Signer(Protocol):
    """Computes headers, such as a signature, from the request as it is sent."""

    def sign(self, head: Head, body: bytes | None) -> Headers | Awaitable[Headers]:
        """Return the headers to set. `body` is None if it is streamed and thus cannot be signed."""


type Function = Callable[[CallInfo, Head], Headers | Signer | Awaitable[Headers | Signer]]


class ExtensionError(Exception):
    """An extension cannot be used or failed. The text contains none of the values that it returned."""


_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="extension")


@dataclass(frozen=True, slots=True)
class Extension:
    """An imported function. `name` is `python:MODULE:FUNCTION`."""

    name: str
    function: Function

    @classmethod
    def load(cls, name: str, folder: Path) -> Extension:
        """Import a function. `folder`, that of the configuration, is searched last. Raises ExtensionError."""
        _, module_name, function_name = name.split(":")
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
        function = getattr(module, function_name, None)
        if not callable(function):
            raise ExtensionError(f"the module {module_name} has no function {function_name}")
        return cls(name, function)

    async def headers(self, call: CallInfo, head: Head, body: bytes | None) -> list[tuple[bytes, bytes]]:
        """Call the function, and return the headers to set. Raises ExtensionError."""
        result = await self._call(self.function, call, head)
        if not isinstance(result, Mapping) and isinstance(result, Signer):
            result = await self._call(result.sign, head, body)
        return checked_headers(self.name, result)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(TIME_LIMIT):
                if inspect.iscoroutinefunction(function):
                    return await function(*arguments)
                result = await asyncio.get_running_loop().run_in_executor(_threads, function, *arguments)
                return await result if inspect.isawaitable(result) else result
        except TimeoutError:
            raise ExtensionError(f"{self.name} did not return within {TIME_LIMIT:g} s") from None
        except Exception as error:
            # Without its message, which may contain a secret.
            raise ExtensionError(f"{self.name} failed: {type(error).__name__}") from error


def checked_headers(name: str, headers: Any) -> list[tuple[bytes, bytes]]:
    """Return what an extension returned as header fields. Raises ExtensionError if it is not valid or not allowed."""
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
