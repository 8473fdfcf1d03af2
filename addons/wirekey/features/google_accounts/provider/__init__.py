"""Code Assist as Google's own programs call it, signed in with an account of their own.

Its API is not published; the source of Gemini CLI shows it.
"""

from __future__ import annotations

from types import MappingProxyType

from wirekey.features.google_accounts.provider.requests import PREFIX, TOKEN_PATHS, CodeAssistRequests
from wirekey.features.google_accounts.provider.responses import CodeAssistResponses
from wirekey.providers.companions import CompanionPaths
from wirekey.providers.description import NO_HEADERS, NO_VARIABLES, ProviderHosts
from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.gemini.models import GeminiModels
from wirekey.providers.protocol import Provider

CODE_ASSIST_HOST = "cloudcode-pa.googleapis.com"
GOOGLE_TOKEN_HOST = "oauth2.googleapis.com"  # noqa: S105  # not a secret
"""The host at which Google's programs renew their logins."""


class CodeAssistApi(CodeAssistRequests, CodeAssistResponses, GeminiErrors, GeminiModels, Provider):
    """Code Assist, and the token server at which its programs renew their logins."""

    model_list_targets = ()
    hosts = ProviderHosts(
        own="",
        elsewhere=MappingProxyType(
            {
                "*-cloudcode-pa.googleapis.com": "Gemini CLI, signed in with a Google account",
                "cloudcode-pa.mtls.googleapis.com": "Gemini CLI, signed in with a Google account",
            }
        ),
        if_configured=MappingProxyType({CODE_ASSIST_HOST: "Gemini CLI, signed in with a Google account"}),
        shared=(GOOGLE_TOKEN_HOST,),
    )
    key_setting = "GOOGLE_CLOUD_ACCESS_TOKEN"
    headers = NO_HEADERS
    companions = CompanionPaths(
        (
            ("GET|HEAD", r"/", "check"),
            ("POST", r"/v1internal:(?:fetchAdminControls|setCodeAssistGlobalUserSetting)", "settings"),
            ("GET", r"/v1internal:getCodeAssistGlobalUserSetting", "settings"),
            ("POST", r"/v1internal:record\w+", "telemetry"),
        )
    )
    variables = NO_VARIABLES
    key_headers = ("authorization",)
    keyless = ("oauth.token", "oauth.tokeninfo")
    gateway_paths = (rf"{PREFIX}[:/].*",)
    otel_name = "gcp.gemini"
    price_list = ""

    def host_of(self, path: str) -> str | None:
        """Return the host that a path belongs to, or None if it belongs to neither."""
        if path.startswith(PREFIX):
            return CODE_ASSIST_HOST
        return GOOGLE_TOKEN_HOST if path in TOKEN_PATHS else None

    def default_format(self, client: str, model: str) -> str:
        """Return the client's own format: requests are not translated for these programs."""
        return client

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an access token."""
        return "authorization", f"Bearer {key}"
