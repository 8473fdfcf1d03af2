"""The extension point for credentials that Wirekey does not know how to get: `auth: python:MODULE:FUNCTION` of a route.

FUNCTION is called for each attempt of a call that takes the route, as `function(call, head)`. It gives the headers to
set, or a Signer, which is then called with what is really sent. Both may be `async`; a plain function runs in a thread.
What raises, takes longer than `TIME_LIMIT`, or sets a header that it may not set, ends the call with 503: nothing is
sent without the credential. The module is imported when the configuration is read and stays as it is: after a change of
it, start Wirekey anew. It runs inside Wirekey, with all that Wirekey can reach.
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
"""Seconds for the function, and for the signer."""
THREADS = 8
MOST_HEADERS = 32
LONGEST_VALUE = 16 * 1024

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
REFUSED_HEADERS = frozenset(
    {
        # Where the request goes, and where it ends: to change these would send another request than was judged.
        "host", "content-length", "transfer-encoding", "content-encoding", "content-type",
        # These are for one connection, not for a request (RFC 9110 section 7.6.1).
        "connection", "expect", "keep-alive", "te", "trailer", "upgrade", "proxy-connection",
        "proxy-authorization", "proxy-authenticate",
        "x-http-method", "x-http-method-override", "x-method-override",
    }
)  # fmt: skip
"""Header names in lower case that an extension may not set."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Whose call it is and what it asks for; None: unknown, or there is none."""

    id: str
    agent_id: str | None
    agent_role: str | None
    agent_type: str | None
    provider: str
    operation: str
    requested_model: str | None
    model: str | None
    """The model that is sent."""
    stream: bool
    route: str
    """Label of the route: `routes[2]`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the request as it is sent, without any credential. Names of headers are as the client wrote them."""

    method: str
    host: str
    """With the port where it is not 443."""
    path: str
    """With the query, as it is on the wire."""
    headers: tuple[tuple[str, str], ...]


type Headers = Mapping[str, str]


@runtime_checkable
class Signer(Protocol):
    """Makes headers of what is sent."""

    def sign(self, head: Head, body: bytes | None) -> Headers | Awaitable[Headers]:
        """Give the headers to set. `body` is None where it is streamed, and so cannot be signed."""


type Function = Callable[[CallInfo, Head], Headers | Signer | Awaitable[Headers | Signer]]


class ExtensionError(Exception):
    """What is wrong with an extension, in a sentence without a value that it gave."""


_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="extension")


@dataclass(frozen=True, slots=True)
class Extension:
    """A function that was found. `name`: `python:MODULE:FUNCTION`."""

    name: str
    function: Function

    @classmethod
    def load(cls, name: str, folder: Path) -> Extension:
        """Import it; modules beside the configuration, in `folder`, are found last. Raises ExtensionError."""
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
        """Ask for the headers to set. Raises ExtensionError."""
        given = await self._asked(self.function, call, head)
        if not isinstance(given, Mapping) and isinstance(given, Signer):
            given = await self._asked(given.sign, head, body)
        return checked(self.name, given)

    async def _asked(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(TIME_LIMIT):
                if inspect.iscoroutinefunction(function):
                    return await function(*arguments)
                given = await asyncio.get_running_loop().run_in_executor(_threads, function, *arguments)
                return await given if inspect.isawaitable(given) else given
        except TimeoutError:
            raise ExtensionError(f"{self.name} did not answer within {TIME_LIMIT:g} s") from None
        except Exception as error:
            # Without its message, which may hold what the function knows.
            raise ExtensionError(f"{self.name} failed: {type(error).__name__}") from error


def checked(name: str, given: Any) -> list[tuple[bytes, bytes]]:
    """Give header fields to set. Raises ExtensionError where there is one that may not be set."""
    if not isinstance(given, Mapping):
        raise ExtensionError(f"{name} gave neither a mapping of headers nor an object with a method sign")
    if len(given) > MOST_HEADERS:
        raise ExtensionError(f"{name} gave more than {MOST_HEADERS} headers")
    fields = []
    for header, value in given.items():
        if not isinstance(header, str) or not NAME.fullmatch(header):
            raise ExtensionError(f"{name} gave a header whose name is none")
        if header.lower() in REFUSED_HEADERS:
            raise ExtensionError(f"{name} may not set the header {header.lower()}")
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()) or len(value) > LONGEST_VALUE:
            raise ExtensionError(f"{name} gave a value of {header} that cannot stand in a header")
        fields.append((header.encode(), value.encode()))
    return fields
