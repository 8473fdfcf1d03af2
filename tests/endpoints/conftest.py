from __future__ import annotations

import pytest

from wirekey.core.endpoints.readiness import ReadinessReport
from wirekey.core.endpoints.routes import health_routes
from wirekey.core.identity.agents import AgentStore
from wirekey.features.jwt.config import JWTConfig
from wirekey.features.jwt.signing_keys import JwtSigningKeys
from wirekey.features.jwt.token_endpoint import TokenEndpoint
from wirekey.features.jwt.token_routes import token_routes


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

    def routes(self):
        return {**health_routes(self.report), **token_routes(lambda: self.endpoint)}

    def report(self) -> ReadinessReport:
        return ReadinessReport(self.parts, dependencies=self.dependencies, rejected_changes=self.rejected_changes)

    @property
    def whole(self):
        return {"grant_type": "client_credentials", "client_id": self.id, "client_secret": self.secret}


@pytest.fixture
def token_server(tmp_path):
    return TokenServer(tmp_path)
