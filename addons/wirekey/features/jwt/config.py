"""The settings of JSON Web Tokens: those that Wirekey issues, and those of external issuers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.identity import LabelName
from wirekey.config.values import HTTPSURL, AbsolutePath, Flag, OwnNotation, Seconds, Text, ValueFormat
from wirekey.core.labels import MOST
from wirekey.core.permissions import normalized

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class ClaimPath(OwnNotation):
    """The path of a claim: its name, or the names of the objects around it and then its name."""

    names: tuple[str, ...]

    def in_yaml(self) -> str | list[str]:
        """Return the name, or the list of names."""
        return self.names[0] if len(self.names) == 1 else list(self.names)


def parse_claim_path(value: Any) -> ClaimPath:
    """Return the path that a name or a list of names describes. Raises ValueError."""
    if isinstance(value, ClaimPath):
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be the name of a claim, or a list of names that is its path")
    return ClaimPath(tuple(names))


def parse_label_claim(value: Any) -> ClaimPath:
    """Return the path of a claim: its names with dots between them, or a list of names. Raises ValueError."""
    return parse_claim_path(value.split(".") if isinstance(value, str) else value)


def agent_prefix(value: str) -> str:
    """Check the prefix of an external issuer's agent ids. Raises ValueError."""
    if len(value) > 64 or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be at most 64 visible ASCII characters without spaces")
    return value


Claim = Annotated[ClaimPath, PlainValidator(parse_claim_path), ValueFormat("name, or path as a list of names")]
PermissionList = Annotated[tuple[Text, ...], AfterValidator(normalized)]
AgentPrefix = Annotated[str, AfterValidator(agent_prefix), ValueFormat("text")]


class JWTClaimsConfig(ConfigGroup):
    """The setting `claims` of an issuer: which claims describe the agent."""

    agent: Claim = Field(default=ClaimPath(("sub",)), description="Claim with the agent's id, a string.")
    role: Claim = Field(
        default=ClaimPath(("role",)),
        description="Claim with its role, a string or a list of one string. May be absent.",
    )
    type: Claim = Field(default=ClaimPath(("type",)), description="Claim with its type, in the same form.")
    permissions: Claim = Field(
        default=ClaimPath(("permissions",)),
        description="Claim with its permissions, a list of strings or one string with spaces between them.",
    )


class JWTIssuerConfig(ConfigGroup):
    """One of `identity.jwt.issuers`: an external issuer and the tokens that are accepted from it."""

    issuer: Text = Field(description="Exact value of `iss` in its tokens.")
    audience: Text = Field(default="wirekey", description="Value that `aud` must have or contain.")
    jwks_url: HTTPSURL | None = Field(
        default=None,
        description="URL of its public keys (JWKS). Set either this or `key`. Its host name must resolve to addresses "
        "that are public or of a private network. A name or address of this machine, such as localhost, is allowed.",
    )
    key: AbsolutePath | None = Field(default=None, description="PEM file with its only public key.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = Field(
        default=("RS256", "ES256", "EdDSA"), description="Accepted signature algorithms."
    )
    max_lifetime: Seconds = Field(default=86400.0, description="Tokens with a longer lifetime are rejected.")
    nbf_required: Flag = Field(default=True, description="Reject tokens without `nbf`, which some issuers omit.")
    claims: JWTClaimsConfig = Field(
        default=JWTClaimsConfig(), description="Names of the claims that describe the agent."
    )
    permissions: PermissionList = Field(
        default=(), description="Permissions of all its agents, in addition to those in the claim."
    )
    prefix: AgentPrefix | None = Field(
        default=None,
        description="Prefix for the ids of its agents. An id without the prefix is rejected if an agent of that name "
        "was ever added to Wirekey.",
    )

    @model_validator(mode="after")
    def check_key_source(self) -> Self:
        """Refuse an issuer unless exactly one of `jwks_url` and `key` is set. Raises ValueError."""
        if (self.jwks_url is None) == (self.key is None):
            raise ValueError("needs either jwks_url or key, which has the issuer's public keys")
        return self


class JWTConfig(ConfigGroup):
    """The setting `identity.jwt`."""

    issuer: Text = Field(default="wirekey", description="Required value of `iss`.")
    audience: Text = Field(default="wirekey", description="Required value of `aud`.")
    lifetime: Seconds = Field(default=3600.0, description="Lifetime of the tokens that Wirekey issues.")
    jwks_url: HTTPSURL | None = Field(
        default=None,
        description="URL of the public keys of `issuer`, if another service issues the tokens. Wirekey then issues "
        "none.",
    )
    issuers: tuple[JWTIssuerConfig, ...] = Field(
        default=(),
        description="External issuers whose tokens are accepted.",
        examples=[
            [
                {
                    "issuer": "https://id.example/",
                    "jwks_url": "https://id.example/jwks.json",
                    "claims": {"agent": "client_id", "role": ["realm", "role"], "permissions": "scope"},
                }
            ]
        ],
    )

    @model_validator(mode="after")
    def check_issuers(self) -> Self:
        """Refuse two issuers with one name. Raises ValueError."""
        names = [self.issuer, *(other.issuer for other in self.issuers)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the issuer {name} occurs twice. Each needs its own `issuer`")
        return self

    @property
    def external_issuers(self) -> tuple[JWTIssuerConfig, ...]:
        """All issuers that are not Wirekey itself."""
        if self.jwks_url is None:
            return self.issuers
        first = JWTIssuerConfig(issuer=self.issuer, audience=self.audience, jwks_url=self.jwks_url)
        return first, *self.issuers

    @property
    def issues_tokens(self) -> bool:
        """Whether Wirekey issues tokens itself, as `issuer`."""
        return self.jwks_url is None


LabelClaim = Annotated[ClaimPath, PlainValidator(parse_label_claim), ValueFormat("claim")]


class LabelClaims(ConfigGroup):
    """The part of the setting `identity.labels` that JWTs add."""

    claims: Annotated[
        dict[LabelName, LabelClaim],
        Field(max_length=MOST),
        ValueFormat("labels, each with a claim"),
    ] = Field(
        default={},
        description="Labels from claims of the JWTs of external issuers, which are verified. A text has the path of "
        "the claim with dots, and numbers for items of a list: `groups.0`. A list has the names as they are. A claim "
        "that is absent gives no label, and the policy sees the name of one that is not a valid label.",
        examples=[{"team": "groups.0", "cost_center": ["https://corp.example/claims", "cc"]}],
    )


class JWTSetting(ConfigGroup):
    """The part of the setting `identity` that JWTs add."""

    jwt: JWTConfig = Field(default=JWTConfig(), description="JSON Web Tokens of agents.")
