"""The setting `google`: how people log in to Google."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Reference, Text, ValueFormat

SCOPE = re.compile(r"(?:https://[!-~]+|[a-z][a-z0-9_.-]*)", re.ASCII)
SCOPES_BELOW = "https://www.googleapis.com/auth/"


def scope_name(value: str) -> str:
    """Check the name of a scope. Raises ValueError."""
    if not SCOPE.fullmatch(value):
        raise ValueError(f"must be the name of a scope below {SCOPES_BELOW}, such as cloud-platform, or its whole URL")
    return value


def header_text(value: str) -> str:
    """Check the value of a User-Agent header. Raises ValueError."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be visible ASCII characters: it is the value of a header")
    return value


Scope = Annotated[Text, AfterValidator(scope_name), ValueFormat("scope")]


class OAuthClientConfig(ConfigGroup):
    """The setting `google.oauth_client`: an OAuth client of the operator's own."""

    id: Reference = Field(
        description="Client ID of an OAuth client that you created in the Google Cloud console.",
        examples=["env:GOOGLE_OAUTH_CLIENT_ID"],
    )
    secret: Reference | None = Field(
        default=None,
        description="Its client secret. null: the client has none.",
        examples=["env:GOOGLE_OAUTH_CLIENT_SECRET"],
    )


class GoogleConfig(ConfigGroup):
    """The setting `google`: logins of people."""

    oauth_client: OAuthClientConfig | None = Field(
        default=None,
        description="Your own OAuth client, with which people log in. Wirekey contains none. null: no one can log in "
        "here, and tokens of login files are not refreshed.",
        examples=[{"id": "env:GOOGLE_OAUTH_CLIENT_ID", "secret": "env:GOOGLE_OAUTH_CLIENT_SECRET"}],
    )
    scopes: tuple[Scope, ...] = Field(
        default=("cloud-platform", "userinfo.email", "userinfo.profile"),
        min_length=1,
        description=f"Permissions that a login asks for: names below `{SCOPES_BELOW}`, or whole URLs.",
    )
    user_agent: Annotated[Text, AfterValidator(header_text)] | None = Field(
        default=None, description="User agent of requests to Code Assist. null: Wirekey's name and version."
    )

    @property
    def scope_urls(self) -> tuple[str, ...]:
        """The scopes as URLs."""
        return tuple(one if "://" in one else SCOPES_BELOW + one for one in self.scopes)


class GoogleSetting(ConfigGroup):
    """The setting `google`, at the top of the configuration."""

    google: GoogleConfig = Field(default=GoogleConfig(), description="Logins to Google.")
