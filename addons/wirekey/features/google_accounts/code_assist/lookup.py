"""Sends the requests of a project's lookup, in a thread beside the event loop."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import TYPE_CHECKING

from wirekey.core.daemon_thread import in_daemon_thread
from wirekey.core.egress.http_client import HttpConnection, HttpError, HttpRequest, HttpServer, checked, resolve
from wirekey.features.google_accounts.code_assist.projects import FoundProject, ProjectError, ProjectLookup

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.credentials.google.tokens import UsableToken
    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.routing.candidate import Upstream
    from wirekey.features.google_accounts.code_assist.projects import LookupRequest

PATIENCE = 30.0
"""Seconds for one request."""
MOST_BYTES = 1024 * 1024


class ProjectClient:
    """Asks Code Assist for the projects of accounts. `ca_file`: all trusted roots; None: the public ones."""

    def __init__(self, upstream: Upstream, user_agent: str, ca_file: Path | None, proxy_for: ProxyFor) -> None:
        self.upstream = upstream
        self.user_agent = user_agent
        self.ca_file = ca_file
        self.proxy_for = proxy_for

    async def find(self, token: UsableToken, project: str | None, *, free: bool) -> FoundProject:
        """Return the project of an account; onboard it if Google does not know it yet. Raises ProjectError."""
        lookup = ProjectLookup(project, free=free)
        step: LookupRequest | FoundProject = lookup.start()
        while not isinstance(step, FoundProject):
            await asyncio.sleep(step.wait)
            try:
                response = await in_daemon_thread(partial(self._send, step, token), "wirekey-google")
            except HttpError as error:
                raise ProjectError(f"Code Assist could not be asked for the project: {error}.") from None
            step = lookup.receive(response.status, response.body)
        return step

    def _send(self, request: LookupRequest, token: UsableToken) -> HttpResponse:
        """Send one request. Blocks. Raises HttpError."""
        upstream = self.upstream
        proxy = self.proxy_for(upstream.host, upstream.port)
        addresses = resolve(proxy.host, proxy.port) if proxy else resolve(upstream.host, upstream.port)
        if not upstream.configured and not proxy:
            addresses = checked(upstream.host, addresses)
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        headers = {
            "Host": upstream.authority,
            "Authorization": f"Bearer {token.access_token.reveal()}",
            "User-Agent": self.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if request.method == "POST":
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(request.body))}
        sent = HttpRequest(
            request.method, upstream.path + request.target, tuple(headers.items()), MOST_BYTES, request.body
        )
        return asyncio.run(_exchange(HttpServer(upstream.host, upstream.port, context, addresses, proxy), sent))


async def _exchange(server: HttpServer, request: HttpRequest) -> HttpResponse:
    connection: HttpConnection | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            connection = await HttpConnection.open(server, PATIENCE)
            return await connection.exchange(request)
    except TimeoutError:
        raise HttpError(f"it takes longer than {PATIENCE:g} s") from None
    finally:
        if connection:
            connection.close()
