"""The settings of Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.providers import ProviderSettings
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import AbsolutePath, ConfiguredUpstream, Text, ValueFormat
from wirekey.features.vertex.places import LOCATION_NAMES, host_in

if TYPE_CHECKING:
    from wirekey.config.secrets import SecretRef


def location_name(value: str) -> str:
    """Check the name of a location. Raises ValueError."""
    if host_in(value) is None:
        raise ValueError(f"must be {LOCATION_NAMES}")
    return value


Location = Annotated[Text, AfterValidator(location_name), ValueFormat("location of Google Cloud")]


class VertexConfig(ProviderSettings):
    """The settings of Vertex AI. Without them, its hosts are hosts of no provider."""

    locations: tuple[Location, ...] = Field(
        min_length=1,
        description="Locations that may be called: `global`, `us`, `eu`, or regions. Each has a host of its own, which "
        "the CA may then sign.",
        examples=[["global", "europe-west4"]],
    )
    projects: tuple[Text, ...] = Field(
        default=(),
        description="Projects that may be called. Empty: only that of `GOOGLE_CLOUD_PROJECT`, or the credentials' own.",
        examples=[["my-project"]],
    )
    credentials: AbsolutePath | None = Field(
        default=None,
        description="File of a service account. null: application default credentials, which are looked up in "
        "`GOOGLE_APPLICATION_CREDENTIALS`, then in the file of `gcloud auth application-default login`, then at the "
        "metadata server.",
        examples=["vertex-service-account.json"],
    )
    upstream_url: ConfiguredUpstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead of the locations' own hosts."
    )
    upstream_proxy: ProxySetting = Field(
        default=None, description="Proxy on the way to this provider. Default: the global `upstream_proxy`."
    )
    key_source: Literal["inject", "passthrough"] = Field(
        default="inject",
        description="inject: Wirekey adds an access token of its own. passthrough: the client's own token is forwarded "
        "unchanged.",
    )

    @property
    def keys(self) -> tuple[SecretRef, ...]:
        """Vertex AI has no keys here: always empty."""
        return ()

    @property
    def takes_keys(self) -> bool:
        """False: calls are sent with access tokens."""
        return False

    @property
    def has_credentials(self) -> bool:
        """True: there are default credentials, or clients have their own."""
        return True

    @property
    def other_source(self) -> str:
        """The clients, or where Wirekey's access tokens come from."""
        own = f"the service account in {self.credentials}" if self.credentials else "Google's own search"
        return super().other_source or own

    @property
    def added_hosts(self) -> tuple[str, ...]:
        """The hosts of the locations."""
        return tuple(host for location in self.locations if (host := host_in(location)))

    @model_validator(mode="after")
    def check_credentials_used(self) -> Self:
        """Refuse credentials that `key_source` never uses. Raises ValueError."""
        if self.credentials and self.key_source != "inject":
            raise ValueError(f"credentials are never used with key_source: {self.key_source}. Remove one of the two")
        return self


class VertexSetting(ConfigGroup):
    """The setting `providers.vertex`."""

    vertex: VertexConfig | None = Field(
        default=None,
        description="LOCATION-aiplatform.googleapis.com. null: off.",
        examples=[{"locations": ["global", "europe-west4"]}],
    )
