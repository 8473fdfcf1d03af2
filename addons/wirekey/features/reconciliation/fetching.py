"""Gets the usage and cost reports of OpenAI and Anthropic from their admin APIs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import certifi
import msgspec

from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, fetch, resolve
from wirekey.features.reconciliation.reports import ReportError
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.routing.candidate import Upstream
    from wirekey.core.secret import Secret

MOST_BYTES = 4 * 1024 * 1024
"""Of a page."""
MOST_PAGES = 200
"""Of all reports together."""
DAYS_OF_A_PAGE = 31
"""The most that both APIs return at once with daily buckets."""


@dataclass(frozen=True, slots=True)
class ReportApi:
    """The reports of one provider. `reports`: path and its grouping. `parameters`: the period, from two times."""

    parameters: Callable[[datetime, datetime], list[tuple[str, str]]]
    group_by: str
    reports: tuple[tuple[str, tuple[str, ...]], ...]


def utc(moment: datetime) -> str:
    """Return a time as RFC 3339."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


APIS = {
    "openai": ReportApi(
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
        lambda since, until: [("starting_at", utc(since)), ("ending_at", utc(until))],
        "group_by[]",
        (
            ("/v1/organizations/cost_report", ("description",)),
            ("/v1/organizations/usage_report/messages", ("model", "api_key_id")),
        ),
    ),
}
"""Provider → its API of reports. AWS and Google have exports instead."""


def fetched(name: str, upstream: Upstream, server: HttpServer, key: Secret, period: tuple[datetime, datetime]) -> bytes:
    """Return all pages of a provider's reports, a line each. Blocks. Raises ReportError, whose text has no key."""
    api, provider = APIS[name], PROVIDERS[name]
    found: list[bytes] = []
    for path, groups in api.reports:
        fixed = [*api.parameters(*period), ("bucket_width", "1d"), ("limit", str(DAYS_OF_A_PAGE))]
        fixed += [(api.group_by, group) for group in groups]
        credential = provider.credentials.header(key.reveal(), path)
        headers = (("Host", upstream.authority), credential, *provider.models.headers.items())
        page: tuple[tuple[str, str], ...] = ()
        while True:
            target = f"{upstream.path}{path}?{urlencode([*fixed, *page])}"
            document = one_page(server, HttpRequest("GET", target, headers, MOST_BYTES))
            found.append(msgspec.json.encode(document))
            if len(found) > MOST_PAGES:
                raise ReportError(f"{server.host} has more than {MOST_PAGES} pages of reports. Shorten the period.")
            if not (document.get("has_more") and document.get("next_page")):
                break
            page = (("page", str(document["next_page"])),)
    return b"\n".join(found)


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


def server_at(upstream: Upstream, trusted: Path | None, proxy: UpstreamProxy | None) -> HttpServer:
    """Return the server of a provider. `trusted`: PEM file of roots beside the public ones. Raises ReportError."""
    context = None
    if upstream.tls:
        context = ssl.create_default_context(cafile=certifi.where())
        if trusted:
            context.load_verify_locations(trusted)
    host, port = (proxy.host, proxy.port) if proxy else (upstream.host, upstream.port)
    try:
        return HttpServer(upstream.host, upstream.port, context, resolve(host, port), proxy)
    except HttpError as error:
        raise ReportError(f"{host}: {error}") from None
