"""The settings of the providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, create_model, model_validator

from wirekey.config.aws import AwsConfig
from wirekey.config.group import ConfigGroup
from wirekey.config.routes import SelectionName
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import ConfiguredUpstream, Reference, Regions
from wirekey.core.egress.hosts import DEFAULT_REGION, partition_of
from wirekey.providers.registry import CORE_PROVIDERS, PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.secrets import SecretRef
    from wirekey.providers.protocol import Provider

KeySource = Literal["inject", "client", "passthrough"]


class ProviderSettings(ConfigGroup):
    """The settings of any provider, as the core reads them. A subclass has the fields, or properties in their place."""

    if TYPE_CHECKING:
        key_source: KeySource
        upstream_url: ConfiguredUpstream | None
        upstream_proxy: ProxySetting

        @property
        def keys(self) -> tuple[SecretRef, ...]:
            """The keys of the provider."""

    @property
    def keys_setting(self) -> str:
        """The setting of one of the keys, `{}` being its index."""
        return "keys[{}]"

    @property
    def takes_keys(self) -> bool:
        """Whether calls are sent with one of `keys`, unless the clients have their own."""
        return True

    @property
    def has_credentials(self) -> bool:
        """Whether Wirekey has credentials for the provider. They are not read."""
        return bool(self.keys)

    @property
    def other_source(self) -> str:
        """The origin of credentials that are not in `keys`, as commands name it, or ""."""
        return "clients use their own" if self.key_source != "inject" else ""

    @property
    def way(self) -> str:
        """How calls are sent: as the provider expects it, `none`, with the client's key, or python:MODULE:FUNCTION."""
        return "provider" if self.key_source == "inject" else self.key_source

    @property
    def upstream_path(self) -> str:
        """The path behind that of `upstream_url`."""
        return ""

    @property
    def asks_usage(self) -> bool | None:
        """Whether streams are asked for their token counts; None: as in `metering`."""
        return None

    @property
    def added_hosts(self) -> tuple[str, ...]:
        """The hosts that belong to the provider because of these settings."""
        return ()

    @property
    def family(self) -> str:
        """The provider whose format these settings give to one of their own; "" if they make none."""
        return ""

    def made_provider(self) -> Provider | None:
        """Return the provider that these settings make, if Wirekey does not know it without them."""
        return None


class ProviderConfig(ProviderSettings):
    """The settings of a provider that has one host, and keys."""

    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys of the provider. A key that gets 401, 403 or 429 cools down. Default: the provider's usual "
        "environment variable, if it is set.",
        examples=[["env:OPENAI_API_KEY", "env:OPENAI_API_KEY_2"]],
    )
    selection: SelectionName = Field(
        default="round-robin",
        description="How to choose a key among those that are not cooling down. session-affinity: the key that the "
        "agent used before, or the session that `session_affinity.header` names.",
    )
    upstream_url: ConfiguredUpstream | None = Field(
        default=None,
        description="`https://HOST:PORT` to connect to instead of the provider's own host.",
        examples=["https://llm.corp.example"],
    )
    upstream_proxy: ProxySetting = Field(
        default=None, description="Proxy on the way to this provider. Default: the global `upstream_proxy`."
    )
    key_source: KeySource = Field(
        default="inject",
        description="inject: Wirekey adds one of `keys`. client: the client sends its own key in an `X-…-Key` header. "
        "passthrough: the client's own key is forwarded unchanged.",
    )

    @model_validator(mode="after")
    def check_keys_used(self) -> Self:
        """Refuse keys that `key_source` never uses. Raises ValueError."""
        if self.keys and self.key_source != "inject":
            raise ValueError(f"keys are never used with key_source: {self.key_source}. Remove one of the two")
        return self


class BedrockConfig(ProviderSettings):
    """The settings of AWS Bedrock: runtime, models, agents and knowledge bases."""

    aws: AwsConfig | None = Field(
        default=None,
        description="The AWS credentials that Wirekey uses. null: AWS's own chain finds them (environment, profile, "
        "instance role).",
        examples=[{"bearer": "env:AWS_BEARER_TOKEN_BEDROCK"}],
    )
    key_source: KeySource = Field(
        default="inject",
        description="inject: Wirekey signs with `aws`. client: the client sends its own AWS credentials in `X-AWS-…` "
        "headers. passthrough: the client's own Bedrock API key is forwarded unchanged.",
    )
    regions: Regions = Field(
        default=(DEFAULT_REGION,),
        min_length=1,
        description="AWS regions that may be called, of any partition. The first is the default. `*`: all regions of "
        "AWS's usual partition; the CA then has some 400 names. `role_arn` is "
        "assumed there.",
    )
    upstream_url: ConfiguredUpstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead of the regions' own hosts."
    )
    upstream_proxy: ProxySetting = Field(
        default=None, description="Proxy on the way to this provider. Default: the global `upstream_proxy`."
    )

    @model_validator(mode="after")
    def check_aws_used(self) -> Self:
        """Refuse credentials that `key_source` never uses. Raises ValueError."""
        if self.aws and self.key_source != "inject":
            raise ValueError(f"aws is never used with key_source: {self.key_source}. Remove one of the two")
        return self

    @model_validator(mode="after")
    def check_role_partition(self) -> Self:
        """Refuse a role of another AWS partition than the regions. Raises ValueError."""
        role = self.aws.role_arn if self.aws else None
        for region in self.regions if role else ():
            partition = partition_of(region)
            if partition and role and role.split(":")[1] != partition.name:
                raise ValueError(
                    f"aws.role_arn is in another AWS partition than {region}. Roles there begin with "
                    f"arn:{partition.name}:iam::"
                )
        return self

    @property
    def keys(self) -> tuple[SecretRef, ...]:
        """The Bedrock API key, if there is one: a tuple of none or one."""
        bearer = self.aws.bearer if self.aws else None
        return (bearer,) if bearer else ()

    @property
    def keys_setting(self) -> str:
        """The setting of the Bedrock API key."""
        return "aws.bearer"

    @property
    def has_credentials(self) -> bool:
        """Whether Wirekey has AWS credentials of its own settings."""
        return self.aws is not None

    @property
    def other_source(self) -> str:
        """The clients, or AWS credentials."""
        configured = self.aws is not None and not self.keys
        return super().other_source or ("AWS credentials are configured" if configured else "")


if TYPE_CHECKING:
    ProvidersWithOneHost = ConfigGroup
else:
    ProvidersWithOneHost = create_model(
        "ProvidersWithOneHost",
        __base__=ConfigGroup,
        **{
            name: (ProviderConfig, Field(default=ProviderConfig(), description=host))
            for name in CORE_PROVIDERS
            if (host := PROVIDERS[name].hosts.own)
        },
    )


class ProvidersConfig(ProvidersWithOneHost):
    """The setting `providers`: those of the core. Features add theirs, each a group or a list of groups."""

    bedrock: BedrockConfig = Field(default=BedrockConfig(), description="bedrock-runtime.REGION.amazonaws.com")

    def entries(self) -> Iterator[tuple[str, str, ProviderSettings]]:
        """Yield (name, setting, settings) of each provider, such as `azure`, `providers.custom[0]`."""
        for name in type(self).model_fields:
            found = getattr(self, name)
            if isinstance(found, ProviderSettings):
                yield name, f"providers.{name}", found
            elif found is not None:
                yield from ((each.name, f"providers.{name}[{index}]", each) for index, each in enumerate(found))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all providers, those of Wirekey's own first."""
        return tuple(name for name, _, _ in self.entries())

    def of(self, name: str) -> ProviderSettings:
        """Return the settings of a provider by its name. Raises KeyError for an unknown name."""
        return {each: settings for each, _, settings in self.entries()}[name]

    def setting(self, name: str) -> str:
        """Return the setting of a provider: `providers.openai`, `providers.custom[0]`."""
        return {each: setting for each, setting, _ in self.entries()}[name]
