"""The settings of JWTs: those given out here, and those of other issuers that are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from wirekey.config.group import Settings
from wirekey.config.values import HTTPSURL, AnchoredPath, Flag, Kind, Seconds, Text
from wirekey.permissions import normalized

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """The names that lead to a claim, from the outermost in."""

    names: tuple[str, ...]


def claim_path(value: Any) -> ClaimPath:
    if isinstance(value, ClaimPath):
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be the name of a claim, or a list of names that leads to one within another")
    return ClaimPath(tuple(names))


def prefix(value: str) -> str:
    if len(value) > 64 or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be at most 64 visible ASCII characters without spaces")
    return value


Claim = Annotated[ClaimPath, PlainValidator(claim_path), Kind("name, or list of the names that lead to it")]
Permissions = Annotated[tuple[Text, ...], AfterValidator(normalized)]
Prefix = Annotated[str, AfterValidator(prefix), Kind("text")]


class JWTClaims(Settings):
    agent: Claim = Field(default=ClaimPath(("sub",)), description="Where the agent's id stands: a text.")
    role: Claim = Field(
        default=ClaimPath(("role",)), description="Where its role stands, if anywhere: a text, or a list of one."
    )
    type: Claim = Field(default=ClaimPath(("type",)), description="Where its type stands, in the same way.")
    permissions: Claim = Field(
        default=ClaimPath(("permissions",)),
        description="Where its permissions stand: a list of texts, or a text with spaces between them.",
    )


class JWTIssuer(Settings):
    issuer: Text = Field(description="What `iss` says in its tokens, to the letter.")
    audience: Text = Field(default="wirekey", description="What `aud` must say, or be a list with it.")
    jwks_url: HTTPSURL | None = Field(default=None, description="Where its keys are (JWKS); either this or `key`.")
    key: AnchoredPath | None = Field(default=None, description="PEM file of its one public key.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = Field(
        default=("RS256", "ES256", "EdDSA"), description="The signatures that are believed, whatever a token says."
    )
    max_lifetime: Seconds = Field(default=86400.0, description="Tokens good for longer than this are refused.")
    nbf_required: Flag = Field(default=True, description="Refuse tokens without `nbf`, which some issuers leave out.")
    claims: JWTClaims = Field(default=JWTClaims(), description="Where its tokens say what.")
    permissions: Permissions = Field(default=(), description="What all of its agents may do, besides their claim.")
    prefix: Prefix | None = Field(
        default=None,
        description="Stands before its agents' ids. An id that an agent added here has, or had, is refused without it.",
    )

    @model_validator(mode="after")
    def has_keys(self) -> Self:
        if (self.jwks_url is None) == (self.key is None):
            raise ValueError("needs either jwks_url or key: where the issuer's public keys are")
        return self


class JWT(Settings):
    issuer: Text = Field(default="wirekey", description="What `iss` must say.")
    audience: Text = Field(default="wirekey", description="What `aud` must say.")
    lifetime: Seconds = Field(default=3600.0, description="How long a token issued here is good for.")
    jwks_url: HTTPSURL | None = Field(
        default=None,
        description="Keys of `issuer`, where that is another than Wirekey; then no tokens are issued here.",
    )
    issuers: tuple[JWTIssuer, ...] = Field(
        default=(),
        description="Other issuers whose tokens are believed.",
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
    def issuers_differ(self) -> Self:
        names = [self.issuer, *(other.issuer for other in self.issuers)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the issuer {name} is there twice; give each an `issuer` of its own")
        return self

    @property
    def foreign(self) -> tuple[JWTIssuer, ...]:
        """All issuers that are not Wirekey itself."""
        if self.jwks_url is None:
            return self.issuers
        whole = JWTIssuer(issuer=self.issuer, audience=self.audience, jwks_url=self.jwks_url)
        return whole, *self.issuers

    @property
    def issues(self) -> bool:
        """Whether Wirekey gives out tokens itself, as `issuer`."""
        return self.jwks_url is None
