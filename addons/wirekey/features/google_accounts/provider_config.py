"""The settings of Code Assist as a provider: for programs of Google's that are signed in with their own account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.providers import ProviderSettings
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import ConfiguredUpstream
from wirekey.features.google_accounts.provider import CODE_ASSIST_HOST, GOOGLE_TOKEN_HOST

if TYPE_CHECKING:
    from wirekey.config.secrets import SecretRef


class CodeAssistConfig(ProviderSettings):
    """The settings of Code Assist. Without them, its hosts are hosts of no provider."""

    key_source: Literal["passthrough"] = Field(
        default="passthrough",
        description="passthrough: the login of the program itself is forwarded unchanged. For logins that Wirekey has, "
        "see `backends`.",
    )
    upstream_url: ConfiguredUpstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead of both hosts."
    )
    upstream_proxy: ProxySetting = Field(
        default=None, description="Proxy on the way to this provider. Default: the global `upstream_proxy`."
    )

    @property
    def keys(self) -> tuple[SecretRef, ...]:
        """Wirekey has no keys for it: always empty."""
        return ()

    @property
    def added_hosts(self) -> tuple[str, ...]:
        """The hosts of Code Assist."""
        return CODE_ASSIST_HOST, GOOGLE_TOKEN_HOST


class CodeAssistSetting(ConfigGroup):
    """The setting `providers.code_assist`."""

    code_assist: CodeAssistConfig | None = Field(
        default=None,
        description="cloudcode-pa.googleapis.com and oauth2.googleapis.com, for programs such as Gemini CLI that are "
        "signed in with a Google account of their own. null: off.",
        examples=[{"key_source": "passthrough"}],
    )
