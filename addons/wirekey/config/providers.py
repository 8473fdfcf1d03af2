"""The settings of the providers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wirekey.config.group import Settings
from wirekey.config.routes import SelectionName
from wirekey.config.secrets import SecretRef
from wirekey.config.values import Reference, Region, RoleARN, Text, Upstream
from wirekey.egress import hosts

KeySource = Literal["inject", "client", "passthrough"]


class Provider(Settings):
    """OpenAI, Gemini or Anthropic."""

    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys, used in turn; one that is answered 401, 403 or 429 rests a while. Without this setting, "
        "the provider's usual environment variable is used where it is set.",
        examples=[["env:OPENAI_API_KEY", "env:OPENAI_API_KEY_2"]],
    )
    selection: SelectionName = Field(
        default="round-robin",
        description="How to choose a key among those that are not cooling down. session-affinity: the key that the "
        "agent used before, or the session that `session_affinity.header` names.",
    )
    upstream_url: Upstream | None = Field(
        default=None,
        description="`https://HOST:PORT` to connect to instead of the provider's own host.",
        examples=["https://llm.corp.example"],
    )
    key_source: KeySource = Field(
        default="inject",
        description="inject: Wirekey adds one of `keys`. client: the client sends its own key in an `X-…-Key` header. "
        "passthrough: the client's own key is forwarded unchanged.",
    )

    @model_validator(mode="after")
    def keys_are_used(self) -> Self:
        if self.keys and self.key_source != "inject":
            raise ValueError(f"keys are never used with key_source: {self.key_source}. Remove one of the two")
        return self


class BedrockAwsConfig(Settings):
    """How Wirekey gets AWS credentials. Without bearer, profile and access_key, AWS's own chain finds them."""

    bearer: Reference | None = Field(
        default=None,
        description="A Bedrock API key. Without `aws`, AWS_BEARER_TOKEN_BEDROCK is used if it is set.",
        examples=["env:AWS_BEARER_TOKEN_BEDROCK"],
    )
    profile: Text | None = Field(default=None, description="Profile of `~/.aws`.")
    access_key: Reference | None = Field(default=None, description="Access key id; needs `secret_key`.")
    secret_key: Reference | None = Field(default=None, description="Secret access key; needs `access_key`.")
    session_token: Reference | None = Field(default=None, description="Session token of temporary access keys.")
    role_arn: RoleARN | None = Field(
        default=None,
        description="Role to assume with the credentials found, for each agent in a session named `wirekey-AGENT` and "
        "tagged with its id and role, as CloudTrail shows. The role's trust policy must allow sts:AssumeRole and "
        "sts:TagSession.",
    )

    @model_validator(mode="after")
    def one_way(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key belong together; set both")
        if self.session_token and not self.access_key:
            raise ValueError("session_token belongs to access_key and secret_key; set those, too")
        ways = [name for name in ("bearer", "profile", "access_key") if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are different ways to get at AWS; keep one")
        if self.bearer and self.role_arn:
            raise ValueError("a bearer key cannot assume a role; keep bearer or role_arn")
        return self


class Bedrock(Settings):
    """AWS Bedrock: its runtime, its models, its agents and knowledge bases."""

    aws: BedrockAwsConfig | None = Field(
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
    regions: tuple[Region, ...] = Field(
        default=(hosts.DEFAULT_REGION,),
        min_length=1,
        description="Regions that may be called, of any partition of AWS; the first is the default, and the one where "
        "`role_arn` is assumed.",
    )
    upstream_url: Upstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead of the regions' own hosts."
    )

    @model_validator(mode="after")
    def aws_is_used(self) -> Self:
        if self.aws and self.key_source != "inject":
            raise ValueError(f"aws is never used with key_source: {self.key_source}. Remove one of the two")
        return self

    @model_validator(mode="after")
    def role_is_of_the_regions_partition(self) -> Self:
        role = self.aws.role_arn if self.aws else None
        for region in self.regions if role else ():
            partition = hosts.partition_of(region)
            if partition and role and role.split(":")[1] != partition.name:
                raise ValueError(
                    f"aws.role_arn is not of {region}'s part of AWS: roles for it begin with arn:{partition.name}:iam::"
                )
        return self

    @property
    def keys(self) -> tuple[SecretRef, ...]:
        bearer = self.aws.bearer if self.aws else None
        return (bearer,) if bearer else ()


class Providers(Settings):
    openai: Provider = Field(default=Provider(), description="api.openai.com")
    gemini: Provider = Field(default=Provider(), description="generativelanguage.googleapis.com")
    anthropic: Provider = Field(default=Provider(), description="api.anthropic.com")
    bedrock: Bedrock = Field(default=Bedrock(), description="bedrock-runtime.REGION.amazonaws.com")
