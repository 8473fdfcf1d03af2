from __future__ import annotations

import contextlib

import httpx
import pytest

from wirekey.config import HostPort
from wirekey.config.jwt import JWTConfig
from wirekey.console.readiness import ReadinessReport
from wirekey.console.router import Router
from wirekey.console.server import Server
from wirekey.identity.agents import AgentStore
from wirekey.identity.jwt_keys import JwtSigningKeys
from wirekey.identity.token_endpoint import TokenEndpoint

PATIENCE = 60.0
FREE = HostPort("127.0.0.1", 0)


class TokenServer:
    """The state of a token endpoint in its own folder, and the credentials of one client."""

    def __init__(self, folder) -> None:
        self.agents = AgentStore(folder / "agents.json")
        self.keys = JwtSigningKeys(folder / "jwt-keys.json", 3600)
        self.endpoint: TokenEndpoint | None = TokenEndpoint(JWTConfig(), self.keys, self.agents)
        self.parts: dict[str, str | None] = {"listeners": None, "audit": None, "ca": None, "policy": None}
        self.dependencies: dict[str, str | None] = {}
        self.rejected_changes: dict[str, str] = {}
        made = self.agents.add_client("alice", role="ops")
        self.id, self.secret = made.client_id, made.client_secret.reveal()

    def router(self) -> Router:
        return Router(lambda: self.endpoint, self.report)

    def report(self) -> ReadinessReport:
        return ReadinessReport(self.parts, dependencies=self.dependencies, rejected_changes=self.rejected_changes)

    @property
    def whole(self):
        return {"grant_type": "client_credentials", "client_id": self.id, "client_secret": self.secret}


@pytest.fixture
def token_server(tmp_path):
    return TokenServer(tmp_path)


@contextlib.asynccontextmanager
async def serving(router, bounds=None, place=FREE):
    """Serve a router, or a function from request to response. Yields the server."""
    response = router.respond if isinstance(router, Router) else router
    server = Server(place, response, bounds)
    server.open()
    try:
        yield server
    finally:
        await server.close()


def client(server, scheme="http", **options) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{scheme}://{server.address}", timeout=PATIENCE, trust_env=False, **{"verify": False, **options}
    )
