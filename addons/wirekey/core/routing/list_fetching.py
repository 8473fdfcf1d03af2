"""The providers' own lists of models: fetched in a thread when a client asks for them, and kept.

A list is fetched again when it is ten minutes old and a client asks for it. The old list stays in use until the new one
is there, and if the fetch fails. Only the first list of a provider is waited for, a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, checked, fetch, resolve
from wirekey.core.tracebacks import safe_traceback
from wirekey.providers.model_list import ListedModel, read_list
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import UpstreamProxy

logger = logging.getLogger(__name__)

GOOD_FOR = 600.0
BETWEEN_FETCHES = 30.0
"""Seconds after a failed fetch before the next one."""
PATIENCE = 5.0
"""Seconds that a request waits for the first list of a provider."""
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
    proxy: UpstreamProxy | None = None


def ask(question: Question) -> list[object]:
    """Return the JSON of each response. Blocks. Raises ListError."""
    try:
        proxy = question.proxy
        addresses = resolve(proxy.host, proxy.port) if proxy else resolve(question.host, question.port)
        if not question.configured and not proxy:
            addresses = checked(question.host, addresses)
        context = ssl.create_default_context(cafile=question.trusted)
        requests = [
            HttpRequest("GET", target, tuple(headers.items()), MOST_BYTES) for target, headers in question.requests
        ]
        responses = fetch(HttpServer(question.host, question.port, context, addresses, proxy), requests)
    except HttpError as error:
        raise ListError(str(error)) from None
    return [list_of(response) for response in responses]


def list_of(response: HttpResponse) -> object:
    """Return the JSON of a response. Raises ListError."""
    if response.status != 200:
        raise ListError(
            f"it responds with status {response.status}", response.status, response.headers.get("retry-after")
        )
    try:
        found: object = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ListError("its response is not JSON") from None
    return found


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

        `providers`: name → host and port. Lists from two hosts are two lists.
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
            kept.entries = tuple(
                _merged(read_list(PROVIDERS[name].models.read_model, document) for document in documents)
            )
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
