"""The providers' own lists of models: fetched in a thread when a client asks for them, and kept.

A list is fetched again when it is ten minutes old and a client asks for it. The old list stays in use until the new one
is there, and if the fetch fails. Only the first list of a provider is waited for, a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.egress.addresses import reason_to_refuse
from wirekey.providers import PROVIDERS
from wirekey.providers.model_list import ListedModel, read_list
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

logger = logging.getLogger(__name__)

GOOD_FOR = 600.0
BETWEEN_FETCHES = 30.0
"""Seconds after a failed fetch before the next one."""
PATIENCE = 5.0
"""Seconds that a request waits for the first list of a provider."""
SILENCE, WHOLE = 5.0, 15.0
"""Seconds that a fetch may take without a byte, and as a whole."""
MOST_BYTES = 4 * 1024 * 1024


class ListError(Exception):
    """Why a list could not be fetched, as the end of a sentence, without a secret.

    `status`: the HTTP status, if there was a response.
    """

    def __init__(self, reason: str, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True, slots=True)
class Question:
    """The requests for one provider's lists. `requests`: target and headers of each. `trusted`: PEM file of roots.

    `configured`: the operator configured this host and port, so that its address may be private.
    """

    provider: str
    host: str
    port: int
    configured: bool
    trusted: str
    requests: tuple[tuple[str, Mapping[str, str]], ...] = field(repr=False)


type Ask = Callable[[Question], list[object]]


def ask(question: Question) -> list[object]:
    """Return the JSON of each response. Blocks. Raises ListError."""
    ends = time.monotonic() + WHOLE
    try:
        address = checked_address(question)
        context = ssl.create_default_context(cafile=question.trusted)
        connection = CheckedConnection(question.host, question.port, address, context)
        with contextlib.closing(connection):
            return [_fetch_json(connection, target, headers, ends) for target, headers in question.requests]
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ListError(_reason(error)) from None


def checked_address(question: Question) -> str:
    """Resolve the host once, and return the checked address. Raises ListError, OSError."""
    found = socket.getaddrinfo(question.host, question.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not question.configured:
        for address in addresses:
            if refused := reason_to_refuse(address):
                raise ListError(f"{question.host} resolves to {refused}")
    return addresses[0]


class CheckedConnection(http.client.HTTPSConnection):
    """Dials the address that was checked, and verifies the certificate of the host."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=SILENCE, context=context)
        self._address, self._verified = address, context

    def connect(self) -> None:
        """Dial the checked address and verify the certificate."""
        plain = socket.create_connection((self._address, self.port), SILENCE)
        try:
            self.sock = self._verified.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _fetch_json(connection: CheckedConnection, target: str, headers: Mapping[str, str], ends: float) -> object:
    connection.request("GET", target, headers=dict(headers))
    with connection.getresponse() as response:
        content = b""
        while part := response.read1(64 * 1024):
            content += part
            if len(content) > MOST_BYTES:
                raise ListError(f"its response is longer than {MOST_BYTES} bytes")
            if time.monotonic() > ends:
                raise ListError(f"its response takes longer than {WHOLE:g} s")
        if response.status != http.client.OK:
            raise ListError(
                f"it responds with status {response.status}", response.status, response.getheader("retry-after")
            )
    found: object = msgspec.json.decode(content)
    return found


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case TimeoutError():
            return "it does not respond in time"
        case socket.gaierror():
            return "its name cannot be looked up"
        case OSError():
            return f"it cannot be reached ({error.strerror or type(error).__name__})"
        case ValueError():
            return "its response is not JSON"
    return f"its response cannot be read ({type(error).__name__})"


async def beside_the_loop[Result](work: Callable[[], Result]) -> Result:
    """Return the result of `work`, run in a daemon thread: it may hang in the resolver, and must not delay the exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if not done.done():
            if error:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # the one or the other is there

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop was closed before
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="wirekey-models", daemon=True).start()
    return await done


@dataclass(slots=True)
class Kept:
    """The state of one provider's list: the models, and when it was fetched or failed."""

    entries: tuple[ListedModel, ...] | None = None
    good_since: float = float("-inf")
    failed_at: float = float("-inf")
    trouble: str = ""
    flight: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The lists of several providers. `lists`: by provider. `troubles`: why others have no list."""

    lists: Mapping[str, tuple[ListedModel, ...]]
    troubles: Mapping[str, str]


class ModelLists:
    """The lists of all providers. All methods are for the event loop's thread.

    `fetch` returns a provider's documents, or raises ListError.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[list[Any]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: dict[tuple[str, str], Kept] = {}

    async def known(self, providers: Mapping[str, str], patience: float = PATIENCE) -> Known:
        """Return what is known of these providers' models. Never raises.

        `providers`: name → host and port. A list from another host is another list.
        """
        wanted = {name: self._kept.setdefault((name, place), Kept()) for name, place in providers.items()}
        self._kept = {(name, providers[name]): kept for name, kept in wanted.items()}
        for name, kept in wanted.items():
            self._begin_if_due(name, kept)
        first = [kept.flight for kept in wanted.values() if kept.entries is None and kept.flight]
        if first:
            await asyncio.wait(first, timeout=patience)
        return Known(
            {name: kept.entries for name, kept in wanted.items() if kept.entries is not None},
            {name: kept.trouble or "it has not responded yet" for name, kept in wanted.items() if kept.entries is None},
        )

    def _begin_if_due(self, name: str, kept: Kept) -> None:
        now = self._clock()
        if kept.flight or now - kept.good_since < GOOD_FOR or now - kept.failed_at < BETWEEN_FETCHES:
            return
        kept.flight = asyncio.create_task(self._fly(name, kept))

    async def _fly(self, name: str, kept: Kept) -> None:
        try:
            documents = await self._fetch(name)
            kept.entries = tuple(_merged(read_list(PROVIDERS[name], document) for document in documents))
            kept.good_since, kept.trouble = self._clock(), ""
        except Exception as error:
            kept.failed_at = self._clock()
            kept.trouble = str(error) if isinstance(error, ListError) else "the request could not be made"
            reason = str(error) if isinstance(error, ListError) else safe_traceback(error)
            also = "" if kept.entries is None else " The previous list stays in use."
            logger.warning("The models of %s could not be listed: %s.%s", name, reason, also)
        finally:
            kept.flight = None


def _merged(lists: Iterable[tuple[ListedModel, ...]]) -> Iterable[ListedModel]:
    return {entry.id: entry for entries in lists for entry in entries}.values()
