"""The settings. Field descriptions are the reference documentation; examples show a value worth writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ByteSize, ConfigDict, Discriminator, Field, PrivateAttr, Tag, model_validator

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import SecretRef, resolve
from wirekey.config.sources import Sources
from wirekey.config.values import (
    HTTPSURL,
    AnchoredPath,
    AuditURL,
    Auth,
    Count,
    Flag,
    HostPort,
    Listener,
    Reference,
    Region,
    RoleARN,
    Seconds,
    ServerURL,
    Size,
    Text,
    Upstream,
)
from wirekey.egress import hosts

if TYPE_CHECKING:
    from wirekey.secret import Secret

ProviderName = Literal["openai", "gemini", "anthropic", "bedrock"]
CredentialMode = Literal["inject", "client", "passthrough"]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class GatewayTLS(Settings):
    certificate: AnchoredPath = Field(description="PEM file: certificate of the gateway, then intermediates.")
    key: AnchoredPath = Field(description="PEM file: its private key.")


class Listen(Settings):
    forward: Listener = Field(
        default=HostPort("127.0.0.1", 8080),
        description="The HTTP proxy, for `HTTPS_PROXY`. Port 0, here and below, takes a free one.",
    )
    gateway: Listener | None = Field(
        default=HostPort("127.0.0.1", 8000),
        description="Where programs that are given a `base_url` call: plain HTTP, and TLS on the same port. "
        "null: none.",
    )
    console: Listener | None = Field(
        default=HostPort("127.0.0.1", 8090), description="Live page, metrics, health and token endpoint. null: none."
    )
    gateway_tls: GatewayTLS | None = Field(
        default=None,
        description="Certificate that the gateway shows. Without one, our own CA makes it.",
        examples=[{"certificate": "gateway.pem", "key": "gateway-key.pem"}],
    )

    @model_validator(mode="after")
    def ports_differ(self) -> Self:
        taken: dict[HostPort, str] = {}
        for name in ("forward", "gateway", "console"):
            place = getattr(self, name)
            if place and place.port and place in taken:
                raise ValueError(f"{taken[place]} and {name} both say {place}; give each a port of its own")
            taken[place] = name
        return self


class Egress(Settings):
    other_hosts: Literal["tunnel", "deny"] = Field(
        default="tunnel",
        description="What becomes of hosts that are no provider's: tunnelled undecrypted, or refused. Private "
        "addresses are refused either way.",
    )


class Provider(Settings):
    """OpenAI, Gemini or Anthropic."""

    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys, used in turn; one that is answered 401, 403 or 429 rests a while. Without this setting, "
        "the provider's usual environment variable is used where it is set.",
        examples=[["env:OPENAI_API_KEY", "env:OPENAI_API_KEY_2"]],
    )
    upstream: Upstream | None = Field(
        default=None,
        description="`https://HOST:PORT` to dial instead of the provider's own host.",
        examples=["https://llm.corp.example"],
    )
    credentials: CredentialMode = Field(
        default="inject",
        description="inject: put one of `keys` on. client: the client brings its key in an `X-…-Key` header. "
        "passthrough: the client's own key goes through.",
    )

    @model_validator(mode="after")
    def keys_are_used(self) -> Self:
        if self.keys and self.credentials != "inject":
            raise ValueError(f"keys are never used with credentials: {self.credentials}; remove one of the two")
        return self


class BedrockCredentials(Settings):
    """One way to get at AWS. Without any of these, AWS's own chain is asked."""

    bearer: Reference | None = Field(
        default=None,
        description="A Bedrock API key. Without `credentials`, AWS_BEARER_TOKEN_BEDROCK is used where it is set.",
        examples=["env:AWS_BEARER_TOKEN_BEDROCK"],
    )
    profile: Text | None = Field(default=None, description="Profile of `~/.aws`.")
    access_key: Reference | None = Field(default=None, description="Access key id; needs `secret_key`.")
    secret_key: Reference | None = Field(default=None, description="Secret access key; needs `access_key`.")
    session_token: Reference | None = Field(default=None, description="Session token of temporary access keys.")
    role_arn: RoleARN | None = Field(default=None, description="Role to assume with the credentials found.")

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


def shape(value: Any) -> str:
    return "mode" if isinstance(value, str) else "mapping"


class Bedrock(Settings):
    """AWS Bedrock's runtime."""

    credentials: (
        Annotated[
            Annotated[BedrockCredentials, Tag("mapping")] | Annotated[CredentialMode, Tag("mode")],
            Discriminator(shape),
        ]
        | None
    ) = Field(
        default=None,
        description="How to get at AWS; or, in place of the settings below, client or passthrough as with the other "
        "providers.",
        examples=[{"bearer": "env:AWS_BEARER_TOKEN_BEDROCK"}],
    )
    regions: tuple[Region, ...] = Field(
        default=(hosts.DEFAULT_REGION,),
        min_length=1,
        description="Regions that may be called; the first is the default.",
    )
    upstream: Upstream | None = Field(
        default=None, description="`https://HOST:PORT` to dial instead of the regions' own hosts."
    )

    @property
    def keys(self) -> tuple[SecretRef, ...]:
        bearer = self.credentials.bearer if isinstance(self.credentials, BedrockCredentials) else None
        return (bearer,) if bearer else ()


class Providers(Settings):
    openai: Provider = Field(default=Provider(), description="api.openai.com")
    gemini: Provider = Field(default=Provider(), description="generativelanguage.googleapis.com")
    anthropic: Provider = Field(default=Provider(), description="api.anthropic.com")
    bedrock: Bedrock = Field(default=Bedrock(), description="bedrock-runtime.REGION.amazonaws.com")


class Route(Settings):
    match: Text = Field(description="Pattern for the model asked for: `*`, `?`, `[…]`.", examples=["gpt-4*"])
    model: Text | None = Field(default=None, description="Model to ask for instead.", examples=["gpt-4o-mini"])
    provider: ProviderName | None = Field(default=None, description="Provider to call, where the path leaves it open.")
    upstream: Upstream | None = Field(default=None, description="`https://HOST:PORT` to dial instead; needs `auth`.")
    auth: Auth | None = Field(
        default=None,
        description="How the upstream takes its key. Default: as the provider does. A function of yours: python:…",
    )
    keys: tuple[Reference, ...] = Field(default=(), description="Keys for this route instead of the provider's.")
    timeout: Seconds | None = Field(default=None, description="Time to the first byte of the answer.")
    fallback: tuple[Text, ...] = Field(default=(), description="Models to try in turn when this one fails.")
    ask_stream_usage: Flag | None = Field(default=None, description="As in `metering`, for this route. null: as there.")

    @model_validator(mode="after")
    def upstream_has_auth(self) -> Self:
        if self.upstream and self.auth is None:
            raise ValueError("upstream needs auth, which says how its key is sent: bearer, x-api-key, …, or none")
        if self.keys and self.auth in ("none", "client"):
            raise ValueError(f"keys are never used with auth: {self.auth}; remove one of the two")
        return self


class JWT(Settings):
    issuer: Text = Field(default="wirekey", description="What `iss` must say.")
    audience: Text = Field(default="wirekey", description="What `aud` must say.")
    lifetime: Seconds = Field(default=3600.0, description="How long a token issued here is good for.")
    jwks_url: HTTPSURL | None = Field(default=None, description="Keys of another issuer.")


class Identity(Settings):
    required: Flag = Field(default=True, description="Refuse calls of programs that do not say which agent they are.")
    jwt: JWT = Field(default=JWT(), description="Tokens that agents get for their credentials.")


class Policy(Settings):
    engine: Literal["rego"] = Field(default="rego", description="Language of the policies.")
    path: AnchoredPath = Field(default=Path("policies"), description="Folder of the policies.")
    query: Text = Field(default="data.wirekey.authz", description="What is asked of them.")
    opa_url: ServerURL | None = Field(default=None, description="An OPA server to ask instead of the built-in engine.")
    timeout: Seconds = Field(default=0.25, description="How long a decision may take; after that the call is denied.")


class Audit(Settings):
    store: AuditURL | None = Field(
        default=None,
        description="Where calls are recorded. null: `audit.db` in the `state` folder.",
        examples=["sqlite:///state/audit.db"],
    )
    durability: Literal["process", "disk"] = Field(
        default="process",
        description="What a record survives before its call is sent: our end, or the machine's (fsync).",
    )


class Metering(Settings):
    ask_stream_usage: Flag = Field(
        default=True,
        description="Ask OpenAI for the token counts of streams that did not ask, and keep that from the client.",
    )


class Timeouts(Settings):
    connect: Seconds = Field(default=10.0, description="To reach an upstream, TLS included.")
    first_byte: Seconds = Field(default=120.0, description="From the end of a request to the first byte of its answer.")
    idle: Seconds = Field(default=120.0, description="Without a byte within an answer.")


class Limits(Settings):
    body_bytes: Size = Field(default=ByteSize(64 * 1024 * 1024), description="Largest request body that is read.")
    header_bytes: Size = Field(default=ByteSize(64 * 1024), description="Largest head of a request.")
    headers: Count = Field(default=100, description="Most headers of a request.")
    connections_per_client: Count = Field(default=256, description="Most connections of one client address at a time.")


class Log(Settings):
    format: Literal["console", "json"] = Field(default="console", description="For people, or one JSON object a line.")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is logged.")
    file: AnchoredPath | None = Field(
        default=None, description="Where to. null: standard error.", examples=["wirekey.log"]
    )


class Config(Settings):
    """All settings, checked. Made by `wirekey.config.load`; paths are absolute."""

    listen: Listen = Field(default=Listen(), description="Where Wirekey listens.")
    state: AnchoredPath = Field(default=Path("state"), description="Folder of what Wirekey keeps: agents, audit.")
    certs: AnchoredPath = Field(default=Path("certs"), description="Folder of the CA.")
    egress: Egress = Field(default=Egress(), description="What may be reached.")
    upstream_ca: AnchoredPath | None = Field(
        default=None,
        description="PEM file trusted for upstreams besides the public roots.",
        examples=["corp-ca.pem"],
    )
    providers: Providers = Field(default=Providers(), description="The providers and their keys.")
    model_override: Text | None = Field(default=None, description="One model for everything.", examples=["gpt-4o-mini"])
    routes: tuple[Route, ...] = Field(
        default=(),
        description="What becomes of a model asked for; the first match wins.",
        examples=[
            [
                {"match": "gpt-4*", "model": "gpt-4o-mini"},
                {"match": "claude-*", "provider": "anthropic", "timeout": 600},
                {"match": "corp-*", "upstream": "https://llm.corp.example", "auth": "bearer", "keys": ["env:CORP_KEY"]},
                {"match": "gemini-2.5-pro", "fallback": ["gemini-2.5-flash"]},
            ]
        ],
    )
    identity: Identity = Field(default=Identity(), description="Who calls.")
    policy: Policy | None = Field(
        default=None,
        description="Who may call what. null: every known agent may call everything.",
        examples=[{"path": "policies/"}],
    )
    audit: Audit = Field(default=Audit(), description="The record of calls.")
    metering: Metering = Field(default=Metering(), description="Counting tokens.")
    timeouts: Timeouts = Field(default=Timeouts(), description="How long things may take.")
    limits: Limits = Field(default=Limits(), description="How large things may be.")
    log: Log = Field(default=Log(), description="The log.")

    _sources: Sources = PrivateAttr(default_factory=Sources)

    @property
    def source(self) -> Path | None:
        """The configuration file; None where there is none."""
        return self._sources.file

    @property
    def explicit(self) -> bool:
        """Whether there is a configuration file."""
        return self.source is not None

    @property
    def has_any_key(self) -> bool:
        """Whether any provider has a key or, for Bedrock, a way to AWS. It is not read for that."""
        bedrock = isinstance(self.providers.bedrock.credentials, BedrockCredentials)
        return bedrock or any(getattr(self.providers, name).keys for name in Providers.model_fields)

    def resolve_keys(self, provider: str) -> list[tuple[str, Secret]]:
        """Read a provider's keys as (label, key), labels like `openai/1`. Raises ConfigError naming all missing."""
        setting = "credentials.bearer" if provider == "bedrock" else "keys[{}]"
        keys, problems = [], []
        for index, reference in enumerate(getattr(self.providers, provider).keys):
            found = self.resolve(reference, f"providers.{provider}.{setting.format(index)}")
            if isinstance(found, Problem):
                problems.append(found)
            else:
                keys.append((f"{provider}/{index + 1}", found))
        if problems:
            raise ConfigError(problems)
        return keys

    def resolve(self, reference: SecretRef, key: str) -> Secret | Problem:
        """Read the secret that the setting `key` refers to."""
        try:
            return resolve(reference, self._sources.environ, self._sources.folder)
        except ValueError as error:
            return self._sources.problem(key, f"{reference}: {error}")

    def fingerprint(self) -> str:
        """Give a text that changes when a file that this configuration was read from changes, comes or goes."""
        return self._sources.fingerprint()


def provider_hosts(config: Config) -> dict[str, str]:
    """Give provider host → provider name: the hosts that are decrypted, and that the CA is good for."""
    return hosts.provider_hosts(config.providers.bedrock.regions)
