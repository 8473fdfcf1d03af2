"""The settings of AWS credentials, of Bedrock as a whole or of one route."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Reference, RoleARN, Text


class AwsConfig(ConfigGroup):
    """The setting `aws` of Bedrock or of a route.

    Without bearer, profile and access_key, AWS's own chain finds the credentials.
    """

    bearer: Reference | None = Field(
        default=None,
        description="A Bedrock API key. Without `aws`, AWS_BEARER_TOKEN_BEDROCK is used if it is set.",
        examples=["env:AWS_BEARER_TOKEN_BEDROCK"],
    )
    profile: Text | None = Field(default=None, description="Profile in `~/.aws`.")
    access_key: Reference | None = Field(default=None, description="Access key id. Needs `secret_key`.")
    secret_key: Reference | None = Field(default=None, description="Secret access key. Needs `access_key`.")
    session_token: Reference | None = Field(default=None, description="Session token of temporary access keys.")
    role_arn: RoleARN | None = Field(
        default=None,
        description="Role to assume with the credentials. Each agent has its own session, named `wirekey-AGENT` and "
        "tagged with the agent's id and role, which CloudTrail shows. The role's trust policy must allow "
        "sts:AssumeRole and sts:TagSession.",
    )

    @model_validator(mode="after")
    def check_one_source(self) -> Self:
        """Refuse incomplete key pairs and two sources of credentials. Raises ValueError."""
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key belong together. Set both")
        if self.session_token and not self.access_key:
            raise ValueError("session_token belongs to access_key and secret_key. Set those too")
        sources = [name for name in ("bearer", "profile", "access_key") if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} are different sources of credentials. Keep one")
        if self.bearer and self.role_arn:
            raise ValueError("a bearer key cannot assume a role. Keep either bearer or role_arn")
        return self
