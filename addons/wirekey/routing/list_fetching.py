"""The providers' own lists of models: fetched away from the event loop when somebody asks for them, and kept.

A list is fetched again when it is ten minutes old and asked for; until the new one is there, and where it cannot be
had, the old one stays. Only the very first of a provider is waited for, and not for long.
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
"""Seconds after a fetch that failed in which no other is begun."""
PATIENCE = 5.0
"""Seconds that a request waits for the first list of a provider."""
SILENCE, WHOLE = 5.0, 15.0
"""Seconds that a fetch may take without a byte, and in all."""
MOST_BYTES = 4 * 1024 * 1024


class ListError(Exception):
    """Why a list could not be had: a sentence's end, without a secret. `status`: what was answered, if anything."""

    def __init__(self, reason: str, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one provider. `requests`: target and headers of each. `trusted`: the PEM file of roots.

    `configured`: an operator named this very host and port, so that its address may be a private one.
    """

    provider: str
    host: str
    port: int
    configured: bool
    trusted: str
    requests: tuple[tuple[str, Mapping[str, str]], ...] = field(repr=False)


type Ask = Callable[[Question], list[object]]


def ask(question: Question) -> list[object]:
    """Give the JSON of each request's answer. Blocks. Raises ListError."""
    ends = time.monotonic() + WHOLE
    try:
        address = checked_address(question)
        context = ssl.create_default_context(cafile=question.trusted)
        connection = CheckedConnection(question.host, question.port, address, context)
        with contextlib.closing(connection):
            return [_answer(connection, target, headers, ends) for target, headers in question.requests]
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ListError(_reason(error)) from None


def checked_address(question: Question) -> str:
    """Resolve once, and give the address that was checked. Raises ListError, OSError."""
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
        plain = socket.create_connection((self._address, self.port), SILENCE)
        try:
            self.sock = self._verified.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _answer(connection: CheckedConnection, target: str, headers: Mapping[str, str], ends: float) -> object:
    connection.request("GET", target, headers=dict(headers))
    with connection.getresponse() as answer:
        content = b""
        while part := answer.read1(64 * 1024):
            content += part
            if len(content) > MOST_BYTES:
                raise ListError(f"its answer is longer than {MOST_BYTES} bytes")
            if time.monotonic() > ends:
                raise ListError(f"its answer takes longer than {WHOLE:g} s")
        if answer.status != http.client.OK:
            raise ListError(f"it answers {answer.status}", answer.status, answer.getheader("retry-after"))
    found: object = msgspec.json.decode(content)
    return found


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case TimeoutError():
            return "it does not answer in time"
        case socket.gaierror():
            return "its name cannot be looked up"
        case OSError():
            return f"it cannot be reached ({error.strerror or type(error).__name__})"
        case ValueError():
            return "its answer is no JSON"
    return f"its answer cannot be read ({type(error).__name__})"


async def beside_the_loop[Result](work: Callable[[], Result]) -> Result:
    """Give what `work` gives, done in a thread that nobody waits for at the end: it may hang in the resolver."""
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
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="wirekey-models", daemon=True).start()
    return await done


@dataclass(slots=True)
class Kept:
    entries: tuple[ListedModel, ...] | None = None
    good_since: float = float("-inf")
    failed_at: float = float("-inf")
    trouble: str = ""
    flight: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """`lists`: by provider, of those that have one. `troubles`: why others have none."""

    lists: Mapping[str, tuple[ListedModel, ...]]
    troubles: Mapping[str, str]


class ModelLists:
    """All methods are for the event loop's thread.

    `fetch` gives a provider's documents, or raises: a ListError says why.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[list[Any]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: dict[tuple[str, str], Kept] = {}

    async def known(self, providers: Mapping[str, str], patience: float = PATIENCE) -> Known:
        """Give what is known of these providers' models. Never raises.

        `providers`: name → where it is asked; a list that came from elsewhere is another one.
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
            {name: kept.trouble or "it has not answered yet" for name, kept in wanted.items() if kept.entries is None},
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
            kept.trouble = str(error) if isinstance(error, ListError) else "it could not be asked"
            told = str(error) if isinstance(error, ListError) else safe_traceback(error)
            also = "" if kept.entries is None else " The list known before stays in use."
            logger.warning("The models of %s could not be listed: %s.%s", name, told, also)
        finally:
            kept.flight = None


def _merged(lists: Iterable[tuple[ListedModel, ...]]) -> Iterable[ListedModel]:
    return {entry.id: entry for entries in lists for entry in entries}.values()
