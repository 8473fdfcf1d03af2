"""Gets the usage and cost reports of OpenAI and Anthropic from their admin APIs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import certifi
import msgspec

from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, fetch, resolve
from wirekey.features.reconciliation.reports import ReportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.secret import Secret

MOST_BYTES = 32 * 1024 * 1024
MOST_PAGES = 1000
DAYS_OF_A_PAGE = 31
"""The most that both APIs return at once with daily buckets."""


@dataclass(frozen=True, slots=True)
class ReportApi:
    """The reports of one provider at its `host`.

    `reports`: path and its grouping. `parameters`: the period, from two times.
    """

    host: str
    headers: Callable[[str], tuple[tuple[str, str], ...]]
    parameters: Callable[[datetime, datetime], list[tuple[str, str]]]
    group_by: str
    reports: tuple[tuple[str, tuple[str, ...]], ...]


def utc(moment: datetime) -> str:
    """Return a time as RFC 3339."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


APIS = {
    "openai": ReportApi(
        "api.openai.com",
        lambda key: (("authorization", f"Bearer {key}"),),
        lambda since, until: [
            ("start_time", f"{since.timestamp():.0f}"),
            ("end_time", f"{until.timestamp():.0f}"),
        ],
        "group_by",
        (
            ("/v1/organization/costs", ("line_item", "api_key_id")),
            ("/v1/organization/usage/completions", ("model", "api_key_id")),
            ("/v1/organization/usage/embeddings", ("model", "api_key_id")),
        ),
    ),
    "anthropic": ReportApi(
        "api.anthropic.com",
        lambda key: (("x-api-key", key), ("anthropic-version", "2023-06-01")),
        lambda since, until: [("starting_at", utc(since)), ("ending_at", utc(until))],
        "group_by[]",
        (
            ("/v1/organizations/cost_report", ("description",)),
            ("/v1/organizations/usage_report/messages", ("model", "api_key_id")),
        ),
    ),
}
"""Provider → its API of reports. AWS and Google have exports instead."""


def fetched(provider: str, server: HttpServer, key: Secret, since: float, until: float) -> list[dict[str, Any]]:
    """Return all pages of a provider's reports. Blocks. Raises ReportError, whose text has no key."""
    api = APIS[provider]
    period = [datetime.fromtimestamp(moment, UTC) for moment in (since, until)]
    found = []
    for path, groups in api.reports:
        fixed = [*api.parameters(*period), ("bucket_width", "1d"), ("limit", str(DAYS_OF_A_PAGE))]
        fixed += [(api.group_by, group) for group in groups]
        page = None
        for _ in range(MOST_PAGES):
            target = f"{path}?{urlencode([*fixed, *([('page', page)] if page else [])])}"
            document = one_page(
                server, HttpRequest("GET", target, (("Host", place(server)), *api.headers(key.reveal())), MOST_BYTES)
            )
            found.append(document)
            page = document.get("next_page") if document.get("has_more") else None
            if not page:
                break
    return found


def one_page(server: HttpServer, request: HttpRequest) -> dict[str, Any]:
    """Return the JSON of one response. Raises ReportError."""
    path = request.target.partition("?")[0]
    try:
        [response] = fetch(server, [request])
    except HttpError as error:
        raise ReportError(f"{server.host}{path}: {error}") from None
    if response.status in (401, 403):
        raise ReportError(
            f"{server.host}{path} refuses the key (status {response.status}). Reports need an admin key of the "
            "organization: name it with --key."
        )
    if response.status != 200:
        raise ReportError(f"{server.host}{path} responds with status {response.status}. Try again later.")
    try:
        document: dict[str, Any] = msgspec.json.decode(response.body, type=dict)
    except msgspec.DecodeError:
        raise ReportError(f"{server.host}{path}: the response is not JSON.") from None
    return document


def server_at(host: str, port: int, trusted: Path | None, *, tls: bool) -> HttpServer:
    """Return the server of a provider. `trusted`: PEM file of roots beside the public ones. Raises ReportError."""
    context = None
    if tls:
        context = ssl.create_default_context(cafile=certifi.where())
        if trusted:
            context.load_verify_locations(trusted)
    try:
        return HttpServer(host, port, context, resolve(host, port))
    except HttpError as error:
        raise ReportError(f"{host}: {error}") from None


def place(server: HttpServer) -> str:
    """Return the value of the Host header."""
    return server.host if server.port == (443 if server.context else 80) else f"{server.host}:{server.port}"
