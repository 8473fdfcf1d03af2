"""The settings of the providers."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, create_model, field_validator, model_validator

from wirekey.config.aws import AwsConfig
from wirekey.config.code_assist import CodeAssistConfig
from wirekey.config.custom_providers import CustomProviderConfig
from wirekey.config.group import ConfigGroup
from wirekey.config.routes import SelectionName
from wirekey.config.secrets import SecretRef
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import ConfiguredUpstream, Reference, Regions
from wirekey.config.vertex import VertexConfig
from wirekey.core.egress.hosts import DEFAULT_REGION, partition_of
from wirekey.providers import hosts

KeySource = Literal["inject", "client", "passthrough"]


class ProviderConfig(ConfigGroup):
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


class BedrockConfig(ConfigGroup):
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


type OwnProviderConfig = ProviderConfig | BedrockConfig | VertexConfig | CodeAssistConfig


if TYPE_CHECKING:
    ProvidersWithOneHost = ConfigGroup
else:
    ProvidersWithOneHost = create_model(
        "ProvidersWithOneHost",
        __base__=ConfigGroup,
        **{
            name: (ProviderConfig, Field(default=ProviderConfig(), description=host))
            for host, name in hosts.FIXED_HOSTS.items()
        },
    )


class ProvidersConfig(ProvidersWithOneHost):
    """The setting `providers`."""

    bedrock: BedrockConfig = Field(default=BedrockConfig(), description="bedrock-runtime.REGION.amazonaws.com")
    vertex: VertexConfig | None = Field(
        default=None,
        description="LOCATION-aiplatform.googleapis.com. null: off.",
        examples=[{"locations": ["global", "europe-west4"]}],
    )
    code_assist: CodeAssistConfig | None = Field(
        default=None,
        description="cloudcode-pa.googleapis.com and oauth2.googleapis.com, for programs such as Gemini CLI that are "
        "signed in with a Google account of their own. null: off.",
        examples=[{"key_source": "passthrough"}],
    )
    custom: tuple[CustomProviderConfig, ...] = Field(
        default=(),
        description="Other hosts that speak the format of one of these providers, such as Azure OpenAI and OpenRouter.",
        examples=[
            [
                {
                    "name": "azure",
                    "hosts": ["corp.openai.azure.com"],
                    "path": "/openai",
                    "deployments": True,
                    "auth": "api-key",
                    "keys": ["env:AZURE_OPENAI_API_KEY"],
                },
                {"name": "openrouter", "hosts": ["openrouter.ai"], "path": "/api", "keys": ["env:OPENROUTER_API_KEY"]},
            ]
        ],
    )

    @field_validator("custom")
    @classmethod
    def check_custom(cls, value: tuple[CustomProviderConfig, ...]) -> tuple[CustomProviderConfig, ...]:
        """Refuse two custom providers with the same name or host. Raises ValueError."""
        for what in ("name", "hosts"):
            seen: dict[str, int] = {}
            for index, provider in enumerate(value):
                found = getattr(provider, what)
                for one in (found,) if what == "name" else dict.fromkeys(found):
                    if one in seen:
                        raise ValueError(f"custom[{seen[one]}] and custom[{index}] both have {one}. Change one of them")
                    seen[one] = index
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all providers, those of Wirekey's own first."""
        own = (name for name in type(self).model_fields if name != "custom" and getattr(self, name) is not None)
        return (*own, *(provider.name for provider in self.custom))

    def of(self, name: str) -> OwnProviderConfig | CustomProviderConfig:
        """Return the settings of a provider by its name. Raises KeyError for an unknown name."""
        place = self.place(name)
        if place is not None:
            return self.custom[place]
        if name not in self.names:
            raise KeyError(name)
        found: OwnProviderConfig = getattr(self, name)
        return found

    def place(self, name: str) -> int | None:
        """Return the index of a provider in `custom`, or None for a provider of Wirekey's own."""
        return next((index for index, provider in enumerate(self.custom) if provider.name == name), None)

    def setting(self, name: str) -> str:
        """Return the setting of a provider: `providers.openai`, `providers.custom[0]`."""
        place = self.place(name)
        return f"providers.{name}" if place is None else f"providers.custom[{place}]"
