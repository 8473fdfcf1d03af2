"""The access tokens of Google for Vertex AI: where they come from, and which projects they are used for."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.config import configured_proxy, environment_proxy
from wirekey.core.calls.attempt_state import AttemptSteps
from wirekey.core.credentials.google.addresses import google_url
from wirekey.core.credentials.google.default_credentials import (
    FILE_VARIABLE,
    PROJECT_VARIABLE,
    USUAL_TOKEN_URL,
    CredentialSearch,
    DefaultCredentials,
)
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.credentials.pool import ProviderKey
from wirekey.core.errors import Fault, Refusal
from wirekey.features.vertex import live
from wirekey.features.vertex.config import VertexSetting
from wirekey.features.vertex.moving import in_project
from wirekey.features.vertex.requests import place_of
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.call import Call
    from wirekey.core.calls.attempt_state import AttemptState, Fields
    from wirekey.core.calls.settings import Settings
    from wirekey.core.credentials.google.tokens import TokenSource
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.routing.candidate import Candidate
    from wirekey.feature import FeatureValues

ROOTS_FILE = "upstream-roots.pem"
"""All trusted roots, in the state folder."""


@dataclass(frozen=True, slots=True)
class SameProxy:
    """Returns the proxy on the way to Google's token servers, if it is used for a host. Equal if the proxy is."""

    proxy: UpstreamProxy | None

    def __call__(self, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy through which a host and port are reached, or None."""
        return self.proxy if self.proxy is not None and self.proxy.is_used_for(host, port) else None


@dataclass(frozen=True, slots=True, eq=False)
class VertexAccess:
    """The tokens for Vertex AI, and the projects that may be called; none: only the credentials' own."""

    source: TokenSource
    projects: frozenset[str] = frozenset()

    async def with_token(self, attempt: AttemptState) -> AttemptState:
        """Return an attempt with an access token. Raises Refusal without a token, or for another project."""
        try:
            token = await self.source.token()
        except NoTokenError as error:
            message = f"Wirekey has no token for Vertex AI. {error}"
            raise Refusal(503, "no_provider_key", message, Fault.OPERATOR) from error
        attempt = self.in_project(attempt, token)
        label = f"vertex/{token.account_id}"
        return structs.replace(
            attempt,
            key=ProviderKey(label, token.access_token),
            credential=label,
            features=attempt.features.plus(token),
        )

    def in_project(self, attempt: AttemptState, token: UsableToken) -> AttemptState:
        """Return an attempt in the project of the token, if it names none. Raises Refusal if it may not be called."""
        path = attempt.target[len(attempt.upstream.path) :].partition(b"?")[0].decode("latin-1")
        if live.PATH.fullmatch(path):
            if token.project_id:
                attempt = structs.replace(attempt, body=live.setup_in_project(attempt.body, token.project_id))
            self.check_project(live.place_of_setup(attempt.body).project, token)
            return attempt
        if token.project_id:
            attempt = structs.replace(attempt, target=in_project(attempt.target, token.project_id))
            path = attempt.target[len(attempt.upstream.path) :].partition(b"?")[0].decode("latin-1")
        if place := place_of(path):
            self.check_project(place.project, token)
        return attempt

    def check_project(self, project: str, token: UsableToken) -> None:
        """Raise Refusal(403) if a project may not be called."""
        if project not in (self.projects or {token.project_id}):
            raise Refusal(
                403,
                "project_refused",
                "The project of the model is not one that may be called. The operator allows it in "
                "providers.vertex.projects.",
            )


def vertex_access(config: Config, values: FeatureValues) -> VertexAccess | None:
    """Return the access to Vertex AI; None if it is off, or clients send their own tokens. Nothing is looked up yet.

    `values`: those until now, whose tokens stay in use if they come from the same place. Raises ConfigError.
    """
    settings = config.providers.part(VertexSetting).vertex
    if settings is None or settings.key_source != "inject":
        return None
    proxy = configured_proxy(config, config.upstream_proxy, "upstream_proxy")
    search = CredentialSearch(
        file=settings.credentials,
        project_id=settings.projects[0] if settings.projects else None,
        setting="providers.vertex.projects",
        token_url=google_url(USUAL_TOKEN_URL, config.environ),
        ca_file=config.state / ROOTS_FILE,
        environ={name: config.environ[name] for name in (FILE_VARIABLE, PROJECT_VARIABLE) if name in config.environ},
        proxy_for=SameProxy(proxy or environment_proxy(config, config.environ).proxy),
    )
    source: TokenSource | None = None
    previous = values.find(VertexAccess)
    if previous and isinstance(previous.source, DefaultCredentials) and previous.source.search == search:
        source = previous.source
    return VertexAccess(source or DefaultCredentials(search), frozenset(settings.projects))


class VertexSteps(AttemptSteps):
    """The steps of each attempt at Vertex AI that is made with an access token of Wirekey's own."""

    def applies(self, candidate: Candidate) -> bool:
        """Return whether attempts at a candidate are made with an access token of Google's."""
        return candidate.auth == "provider" and PROVIDERS[candidate.provider].credentials.uses_google

    def makes_credential(self, settings: Settings, attempt: AttemptState) -> bool:
        """Return whether Wirekey has a source of tokens, and the route has no key."""
        return attempt.planned.key is None and settings.features.find(VertexAccess) is not None

    async def with_credential(self, settings: Settings, call: Call, attempt: AttemptState) -> AttemptState:
        """Return an attempt with an access token. Raises Refusal."""
        access = settings.features.find(VertexAccess)
        assert access
        return await access.with_token(attempt)

    def wire_fields(self, attempt: AttemptState, fields: Fields) -> Fields:
        """Return the header fields with the project that pays for the use of the API, if the token has one."""
        token = attempt.features.find(UsableToken)
        if token is None or not token.quota_project:
            return fields
        return [*fields, (b"x-goog-user-project", token.quota_project.encode())]

    def note_status(self, settings: Settings, attempt: AttemptState, status: int, wait: float | None) -> None:
        """Report a token that Google rejected, so that it is replaced."""
        token, access = attempt.features.find(UsableToken), settings.features.find(VertexAccess)
        if token and access and status == HTTPStatus.UNAUTHORIZED:
            access.source.rejected(token)
