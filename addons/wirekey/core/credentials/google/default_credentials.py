"""Application default credentials, found and refreshed by google-auth in threads beside the event loop.

google-auth looks at GOOGLE_APPLICATION_CREDENTIALS, then at the file of `gcloud auth application-default login`, then
at the metadata server (https://cloud.google.com/docs/authentication/application-default-credentials).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wirekey.core.credentials.google.token_cache import TokenCache
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.core.secret import Secret
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.egress.upstream_proxy import ProxyFor

logger = logging.getLogger(__name__)

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
USUAL_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # not a secret
FILE_VARIABLE, PROJECT_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"
BUFFER = 300.0
"""Seconds before its end at which a token is replaced."""
PATIENCE = 10
"""Seconds for one request to a token server."""
REPAIR = "Check that the credentials are enabled and may call this service."
NOT_FOUND = (
    f"There are no Google credentials. Set {FILE_VARIABLE} to the file of a service account, or run `gcloud auth "
    "application-default login`."
)


@dataclass(frozen=True, slots=True)
class CredentialSearch:
    """The places of credentials and a project. `environ`: the variables, those of `.env` included.

    `file` is used in place of GOOGLE_APPLICATION_CREDENTIALS. `setting` names the setting of the project, for errors.
    `token_url`: where refresh tokens of people become tokens; a service account's file names its own. `ca_file`: all
    trusted roots; None: the public ones.
    """

    file: Path | None = None
    project_id: str | None = None
    setting: str = "project_id"
    token_url: str = USUAL_TOKEN_URL
    ca_file: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy_for: ProxyFor = no_proxy_for


@dataclass(slots=True)
class _Found:
    """The result of a search: google-auth's credentials object, which holds keys and tokens, and the project."""

    credentials: Any = field(repr=False)
    project_id: str


class DefaultCredentials:
    """The tokens of application default credentials: a TokenSource whose tokens have a project.

    Nothing is looked up before `find` or the first `token`.
    """

    def __init__(
        self, search: CredentialSearch, account_id: str = "default", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._search, self._account_id = search, account_id
        self._found: _Found | None = None
        self._cache = TokenCache(account_id, self._renew, buffer=BUFFER, clock=clock, repair=REPAIR)

    @property
    def account_id(self) -> str:
        """The label of these credentials."""
        return self._account_id

    @property
    def search(self) -> CredentialSearch:
        """The places where these credentials are looked up. Equal searches find the same ones."""
        return self._search

    def find(self) -> str:
        """Look the credentials up and return the project. Blocks. Raises NoTokenError with what to do."""
        self._found = _find(self._search)
        return self._found.project_id

    async def token(self) -> UsableToken:
        """Return a token with its project. Raises NoTokenError."""
        return await self._cache.token()

    def rejected(self, token: UsableToken) -> None:
        """Note that a service responded 401 to this token."""
        self._cache.rejected(token)

    def keep_good(self) -> None:
        """Replace a token that ends soon. Call it about once a second."""
        if self._cache.current:
            self._cache.keep_good()

    def _renew(self, _: UsableToken | None) -> UsableToken:
        from google.auth.exceptions import GoogleAuthError, RefreshError

        try:
            found = self._found = self._found or _find(self._search)
            found.credentials.refresh(_request(self._search))
        except GoogleAuthError as error:
            self._found = None  # a changed file is read again
            logger.debug("google-auth: %s", safe_traceback(error))
            if isinstance(error, RefreshError) and not error.retryable:
                raise NoTokenError(
                    "unavailable", f"Google does not accept the credentials. {_renewal(found)}"
                ) from None
            raise NoTokenError("unavailable", "Google's token server does not issue a token at present.") from None
        credentials = found.credentials
        expires = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else None
        quota_project = getattr(credentials, "quota_project_id", None)
        return UsableToken(Secret(credentials.token), self._account_id, found.project_id, quota_project, expires)


def _renewal(found: _Found) -> str:
    if hasattr(found.credentials, "service_account_email"):
        return "Check that the service account and its key are enabled."
    return "Log in again: gcloud auth application-default login"


def _find(search: CredentialSearch) -> _Found:
    """Return the credentials and the project. Blocks. Raises NoTokenError."""
    # google-auth loads slowly, so it is imported only if it is needed.
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    logging.getLogger("google.auth").setLevel(logging.ERROR)  # the error that follows says the same
    file = search.file or search.environ.get(FILE_VARIABLE, "").strip()
    try:
        if file:
            credentials, own_project = google.auth.load_credentials_from_file(  # type: ignore[no-untyped-call]
                str(Path(file).expanduser()), scopes=[SCOPE], request=_request(search)
            )
        else:
            credentials, own_project = google.auth.default(scopes=[SCOPE], request=_request(search))
    except DefaultCredentialsError:
        message = f"{file} is not a file of Google credentials that can be read. Correct {FILE_VARIABLE}."
        raise NoTokenError("no_account", message if file else NOT_FOUND) from None
    except Exception as error:  # such as AttributeError, for a file with another JSON value than an object
        logger.debug("google-auth: %s", safe_traceback(error))
        raise NoTokenError("no_account", f"Google's credentials cannot be used ({type(error).__name__}).") from None
    project = search.project_id or search.environ.get(PROJECT_VARIABLE, "").strip() or own_project
    if not project:
        raise NoTokenError(
            "no_account",
            f"The project is not known. Set {search.setting}, or the variable {PROJECT_VARIABLE}, or use credentials "
            "that name a project.",
        )
    return _Found(_at_token_url(credentials, search), project)


def _at_token_url(credentials: Any, search: CredentialSearch) -> Any:
    """Return a person's credentials with the configured token server, which google-auth otherwise never uses."""
    from google.oauth2.credentials import Credentials

    if not isinstance(credentials, Credentials) or search.token_url == USUAL_TOKEN_URL:
        return credentials
    return Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=credentials.refresh_token,
        token_uri=search.token_url,
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        scopes=[SCOPE],
        quota_project_id=credentials.quota_project_id,
    )


def _request(search: CredentialSearch) -> Any:
    """Return google-auth's way to send a request: over the configured proxy, and never over Wirekey itself."""
    import certifi
    import requests
    from google.auth.transport.requests import Request

    class Session(requests.Session):
        def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
            parts = urlsplit(str(url))
            proxy = search.proxy_for(parts.hostname or "", parts.port or 443) if parts.scheme == "https" else None
            options["proxies"] = {"https": proxy.url} if proxy else {}
            options["timeout"] = min(options.get("timeout") or PATIENCE, PATIENCE)
            return super().request(method, url, *args, **options)

    session = Session()
    session.trust_env = False  # in a shell of `wirekey env` the proxy would be Wirekey itself
    session.verify = str(search.ca_file or certifi.where())
    return Request(session)
