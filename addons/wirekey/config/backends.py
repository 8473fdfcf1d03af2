"""The setting `backends`: further ways to reach Gemini models. Each is off until its `enabled` is true."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.local_program import LocalProgramConfig
from wirekey.config.values import AbsolutePath, Count, Flag, Text

ENABLED = "Whether the backend may be used. Google's terms apply, and you answer for the use."


class LoginFileBackendConfig(ConfigGroup):
    """The settings of `gemini-oauth-plan` and `gemini-oauth-free`: the login that another program made."""

    enabled: Flag = Field(default=False, description=ENABLED)
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


class AccountsBackendConfig(ConfigGroup):
    """The settings of `gemini-oauth-auto`: accounts that log in to Wirekey itself."""

    enabled: Flag = Field(default=False, description=ENABLED)
    refresh_buffer_seconds: Count = Field(
        default=300, description="Seconds before its end at which an access token is replaced."
    )
    storage: AbsolutePath | None = Field(
        default=None,
        description="Folder of the accounts, one file for each. null: `google-accounts` in the `state` folder.",
    )


class CloudProjectBackendConfig(ConfigGroup):
    """The settings of `gemini-cli-cloud-project`: a Google Cloud project, by application default credentials."""

    enabled: Flag = Field(default=False, description=ENABLED)
    project_id: Text | None = Field(
        default=None,
        description="The project. null: that of `GOOGLE_CLOUD_PROJECT`, or the credential's own.",
        examples=["my-project"],
    )


class BackendsConfig(ConfigGroup):
    """The setting `backends`. The names have hyphens in the file."""

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
    gemini_cli_acp: LocalProgramConfig = Field(
        default=LocalProgramConfig(),
        alias="gemini-cli-acp",
        description="A program on this machine, by the Agent Client Protocol.",
    )
