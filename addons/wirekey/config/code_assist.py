"""The settings of Code Assist as a provider: for programs of Google's that are signed in with their own account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import ConfiguredUpstream

if TYPE_CHECKING:
    from wirekey.config.secrets import SecretRef


class CodeAssistConfig(ConfigGroup):
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
