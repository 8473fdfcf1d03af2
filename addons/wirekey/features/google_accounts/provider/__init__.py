"""Code Assist as Google's own programs call it, signed in with an account of their own.

Its API is not published; the source of Gemini CLI shows it.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from wirekey.features.google_accounts.provider.requests import (
    COUNT,
    GENERATE,
    PREFIX,
    STREAM,
    TOKEN_PATHS,
    CodeAssistRequests,
)
from wirekey.features.google_accounts.provider.responses import CodeAssistResponses
from wirekey.providers.companions import CompanionPaths
from wirekey.providers.description import (
    NO_HEADERS,
    NO_VARIABLES,
    NOTHING,
    ProviderHosts,
    bearer_key,
    gateway_paths,
    own_formats,
    plain_prices,
)
from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.gemini.models import MODELS
from wirekey.providers.protocol import Provider, ProviderOperations

CODE_ASSIST_HOST = "cloudcode-pa.googleapis.com"
GOOGLE_TOKEN_HOST = "oauth2.googleapis.com"  # noqa: S105  # not a secret
"""The host at which Google's programs renew their logins."""


class CodeAssistOperations(CodeAssistRequests, CodeAssistResponses, GeminiErrors, ProviderOperations):
    """The operations of Code Assist, and of the token server at which its programs renew their logins."""


def host_of(path: str) -> str | None:
    """Return the host that a path belongs to, or None if it belongs to neither."""
    if path.startswith(PREFIX):
        return CODE_ASSIST_HOST
    return GOOGLE_TOKEN_HOST if path in TOKEN_PATHS else None


CODE_ASSIST = Provider(
    name="code_assist",
    family="",
    setting="providers.code_assist",
    otel_name="gcp.gemini",
    otel_operations=MappingProxyType(dict.fromkeys((GENERATE, STREAM), "generate_content")),
    hosts=ProviderHosts(
        own="",
        elsewhere=NOTHING,
        if_configured=MappingProxyType({CODE_ASSIST_HOST: "Gemini CLI, signed in with a Google account"}),
        shared=(GOOGLE_TOKEN_HOST,),
        path_prefix="",
        host_of=host_of,
    ),
    gateway=gateway_paths(rf"{PREFIX}[:/].*"),
    headers=NO_HEADERS,
    companions=CompanionPaths(
        (
            ("GET|HEAD", r"/", "check"),
            ("POST", r"/v1internal:(?:fetchAdminControls|setCodeAssistGlobalUserSetting)", "settings"),
            ("GET", r"/v1internal:getCodeAssistGlobalUserSetting", "settings"),
            ("POST", r"/v1internal:record\w+", "telemetry"),
        )
    ),
    credentials=replace(
        bearer_key("GOOGLE_CLOUD_ACCESS_TOKEN", "", NO_VARIABLES), keyless=("oauth.token", "oauth.tokeninfo")
    ),
    operations=CodeAssistOperations(),
    formats=replace(own_formats((), None), default=lambda client, _: client),
    prices=replace(plain_prices(""), free=(COUNT,)),
    models=replace(MODELS, targets=()),
    locations=None,
    batches=None,
)
