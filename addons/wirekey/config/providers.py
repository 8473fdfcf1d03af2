"""The settings of the providers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wirekey.config.aws import AwsConfig
from wirekey.config.group import ConfigGroup
from wirekey.config.routes import SelectionName
from wirekey.config.secrets import SecretRef
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import ConfiguredUpstream, Reference, Regions
from wirekey.egress import hosts

KeySource = Literal["inject", "client", "passthrough"]


class ProviderConfig(ConfigGroup):
    """The settings of OpenAI, Gemini or Anthropic."""

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
        default=(hosts.DEFAULT_REGION,),
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
            partition = hosts.partition_of(region)
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


class ProvidersConfig(ConfigGroup):
    """The setting `providers`."""

    openai: ProviderConfig = Field(default=ProviderConfig(), description="api.openai.com")
    gemini: ProviderConfig = Field(default=ProviderConfig(), description="generativelanguage.googleapis.com")
    anthropic: ProviderConfig = Field(default=ProviderConfig(), description="api.anthropic.com")
    bedrock: BedrockConfig = Field(default=BedrockConfig(), description="bedrock-runtime.REGION.amazonaws.com")
