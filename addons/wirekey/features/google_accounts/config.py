"""The setting `backends`: further ways to reach Gemini models. Each is off until its `enabled` is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.routes import SelectionName
from wirekey.config.values import AbsolutePath, Count, Flag, Seconds, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

FALLBACK = "gemini-2.5-flash"
MODELS = (
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.0-flash",
    "gemini-2.0-flash-lite",
    "gemini-1.5-pro",
    "gemini-1.5-flash",
)
ENABLED = "Whether the backend may be used. Google's terms apply, and you answer for the use."


class CodeAssistBackendConfig(ConfigGroup):
    """The settings of every backend of Code Assist."""

    enabled: Flag = Field(default=False, description=ENABLED)
    models: tuple[Text, ...] = Field(
        default=MODELS, description="Models that are listed. Other names are sent as well, not refused."
    )


class LimitedBackendConfig(CodeAssistBackendConfig):
    """The settings of every backend whose accounts Google limits."""

    fallback: Text | None = Field(
        default=FALLBACK,
        description="Model that is tried once if every account is limited for the requested model. null: none.",
    )
    disable_fallback: Flag = Field(
        default=False,
        description="Use no fallback. So does the variable `DISABLE_GEMINI_OAUTH_FALLBACK`, if it is `true` or `1`.",
    )


class LoginFileBackendConfig(LimitedBackendConfig):
    """The settings of `gemini-oauth-plan` and `gemini-oauth-free`: the login that another program made."""

    project_id: Text | None = Field(
        default=None, description="Google Cloud project of the calls. null: Wirekey asks Google for it."
    )
    login_file: AbsolutePath | None = Field(
        default=None,
        description="File of the login, or the folder of `oauth_creds.json`. null: that of Gemini CLI in the home "
        "folder, `~/.gemini/oauth_creds.json` or `~/.config/gemini-cli/oauth_creds.json`.",
        examples=["~/.gemini/oauth_creds.json"],
    )
    refresh_command: tuple[Text, ...] = Field(
        default=(),
        description="Program and its arguments that renew the login file, for use without `google.oauth_client`. "
        "Empty: none.",
        examples=[["gemini", "-p", "hi"]],
    )


class AccountsBackendConfig(LimitedBackendConfig):
    """The settings of `gemini-oauth-auto`: accounts that log in to Wirekey itself."""

    accounts: Literal["all"] | tuple[Text, ...] = Field(
        default="all", description="Ids of the accounts that are used, in this order. all: every account."
    )
    selection_strategy: SelectionName = Field(
        default="session-affinity",
        description="How to choose an account among those that are not limited. session-affinity: the one that the "
        "agent used before, or the session that `session_affinity.header` names.",
    )
    session_affinity_ttl_seconds: Seconds = Field(
        default=86400.0, description="How long the account of an unused session is remembered."
    )
    session_affinity_max_entries: Count = Field(default=10_000, description="Most sessions that are remembered.")
    refresh_buffer_seconds: Count = Field(
        default=300, description="Seconds before its end at which an access token is replaced."
    )
    storage: AbsolutePath | None = Field(
        default=None,
        description="Folder of the accounts, one file for each. null: `google-accounts` in the `state` folder.",
    )


class CloudProjectBackendConfig(CodeAssistBackendConfig):
    """The settings of `gemini-cli-cloud-project`: a Google Cloud project, by application default credentials."""

    project_id: Text | None = Field(
        default=None,
        description="The project. null: that of `GOOGLE_CLOUD_PROJECT`, or the credential's own.",
        examples=["my-project"],
    )


class GoogleBackends(ConfigGroup):
    """The part of the setting `backends` that Google accounts add. The names have hyphens in the file."""

    gemini_oauth_plan: LoginFileBackendConfig = Field(
        default=LoginFileBackendConfig(), alias="gemini-oauth-plan", description="A person's subscription."
    )
    gemini_oauth_free: LoginFileBackendConfig = Field(
        default=LoginFileBackendConfig(), alias="gemini-oauth-free", description="A person's free tier."
    )
    gemini_oauth_auto: AccountsBackendConfig = Field(
        default=AccountsBackendConfig(), alias="gemini-oauth-auto", description="Several persons' accounts, in turn."
    )
    gemini_cli_cloud_project: CloudProjectBackendConfig = Field(
        default=CloudProjectBackendConfig(),
        alias="gemini-cli-cloud-project",
        description="A Google Cloud project.",
    )

    def enabled(self) -> Mapping[str, CodeAssistBackendConfig]:
        """Return the enabled backends of Code Assist by their names."""
        found: dict[str, CodeAssistBackendConfig] = {
            "gemini-oauth-plan": self.gemini_oauth_plan,
            "gemini-oauth-free": self.gemini_oauth_free,
            "gemini-oauth-auto": self.gemini_oauth_auto,
            "gemini-cli-cloud-project": self.gemini_cli_cloud_project,
        }
        return {name: settings for name, settings in found.items() if settings.enabled}
