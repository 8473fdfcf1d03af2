"""Serves Wirekey's own endpoints on a listener of their own, for tests."""

from __future__ import annotations

import contextlib

import httpx

from wirekey.config import HostPort
from wirekey.core.endpoints.local_request import parse_local_request
from wirekey.core.endpoints.routes import not_found, reply_of
from wirekey.core.endpoints.server import Server

PATIENCE = 60.0
FREE = HostPort("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def serving(routes, bounds=None, place=FREE):
    """Serve endpoints, which are path → handler. Yields the server."""
    server = Server(place, routes, bounds)
    server.open()
    try:
        yield server
    finally:
        await server.close()


def client(server, scheme="http", **options) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{scheme}://{server.address}", timeout=PATIENCE, trust_env=False, **{"verify": False, **options}
    )


def asked(method, target, headers=()):
    """Return a request of this machine."""
    return parse_local_request(method, target, tuple(dict(headers).items()), "127.0.0.1")


def reply(routes, request):
    """Return the reply of endpoints to a request."""
    return reply_of(routes.get(request.path, not_found), request)
