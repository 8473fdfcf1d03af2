"""From a configuration to its backends of Code Assist. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey import __version__
from wirekey.config.addresses import UpstreamURL
from wirekey.core.credentials.google.addresses import google_url
from wirekey.core.routing.candidate import Upstream
from wirekey.features.google_accounts.code_assist.backend import BackendSettings, CodeAssist
from wirekey.features.google_accounts.code_assist.lookup import ProjectClient
from wirekey.features.google_accounts.config import (
    AccountsBackendConfig,
    GoogleBackends,
    LimitedBackendConfig,
    LoginFileBackendConfig,
)
from wirekey.features.google_accounts.login_config import GoogleSetting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.features.google_accounts.config import CodeAssistBackendConfig

CODE_ASSIST_URL = "https://cloudcode-pa.googleapis.com"
NO_FALLBACK_VARIABLE = "DISABLE_GEMINI_OAUTH_FALLBACK"
TRUE = ("true", "1")
WHOSE = {
    "gemini-oauth-plan": "the Google account of a login file, and its subscription",
    "gemini-oauth-free": "the Google account of a login file, and its free tier",
    "gemini-oauth-auto": "the Google accounts that logged in to Wirekey",
    "gemini-cli-cloud-project": "a Google Cloud project, which is billed for it",
}


def backends_from(config: Config) -> dict[str, CodeAssist]:
    """Return the enabled backends."""
    enabled = config.backends.part(GoogleBackends).enabled()
    return {name: CodeAssist(backend_settings(config, name, settings)) for name, settings in enabled.items()}


def code_assist_upstream(config: Config) -> Upstream:
    """Return the address of Code Assist."""
    url = UpstreamURL.parse(google_url(CODE_ASSIST_URL, config.environ))
    return Upstream(url.host, url.port, configured=str(url) != CODE_ASSIST_URL, path=url.path)


def user_agent(config: Config) -> str:
    """Return the user agent of requests to Code Assist."""
    return config.part(GoogleSetting).google.user_agent or f"wirekey/{__version__}"


def code_assist_client(config: Config, ca_file: Path | None, proxy_for: ProxyFor) -> ProjectClient:
    """Return what asks Code Assist for projects. `ca_file`: all trusted roots; None: the public ones."""
    return ProjectClient(code_assist_upstream(config), user_agent(config), ca_file, proxy_for)


def backend_settings(config: Config, name: str, settings: CodeAssistBackendConfig) -> BackendSettings:
    """Return the settings of one backend."""
    upstream, agent, fallback = code_assist_upstream(config), user_agent(config), None
    if isinstance(settings, LimitedBackendConfig) and not settings.disable_fallback:
        disabled = config.environ.get(NO_FALLBACK_VARIABLE, "").strip().lower() in TRUE
        fallback = None if disabled else settings.fallback
    if isinstance(settings, AccountsBackendConfig):
        return BackendSettings(
            name,
            upstream,
            agent,
            settings.models,
            fallback=fallback,
            selection=settings.selection_strategy,
            session_ttl=settings.session_affinity_ttl_seconds,
            session_entries=settings.session_affinity_max_entries,
        )
    if isinstance(settings, LoginFileBackendConfig):
        is_free = name == "gemini-oauth-free"
        project = settings.project_id
        return BackendSettings(name, upstream, agent, settings.models, project, fallback, is_free=is_free)
    return BackendSettings(name, upstream, agent, settings.models, is_billed=True, looks_up=False)


def terms(config: Config) -> Iterator[str]:
    """Yield a line for each enabled backend: whose account it uses, whose terms apply, and who answers for it."""
    for name in config.backends.part(GoogleBackends).enabled():
        yield (
            f"The backend {name} uses {WHOSE[name]}. Google's terms apply to it, and you answer for the use. Google "
            "has suspended accounts for uses that its terms do not allow."
        )
