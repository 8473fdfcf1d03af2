"""The settings of routes, of failover and of session affinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from wirekey.config.aws import AwsConfig
from wirekey.config.group import ConfigGroup
from wirekey.config.values import (
    PYTHON_NAME,
    AttemptCount,
    Count,
    Flag,
    Patterns,
    Pause,
    Reference,
    Region,
    RouteAuth,
    RouteUpstream,
    Seconds,
    Text,
    ValueFormat,
    is_python,
)
from wirekey.core.header_names import NAME
from wirekey.core.model_name import ModelName, ModelNameError
from wirekey.feature_registry import missing_feature_of_destination, needs
from wirekey.providers.credential_headers import is_credential_header
from wirekey.providers.formats import FORMATS
from wirekey.providers.registry import BACKENDS, OWN_PROVIDERS, PROVIDERS


def destination_name(value: str) -> str:
    """Refuse the name of a provider or backend whose feature is missing. Raises ValueError."""
    if feature := missing_feature_of_destination(value):
        raise ValueError(f"{needs(feature)}. Install Wirekey with it, or name another provider")
    return value


ProviderName = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(destination_name),
    ValueFormat(" \\| ".join((*OWN_PROVIDERS, "name of a backend or a custom provider"))),
]
SelectionName = Literal["round-robin", "first-available", "random", "session-affinity"]


def model_string(value: str) -> str:
    """Check a model with parameters, such as `gemini-2.5-pro?temperature=0.2`. Raises ValueError."""
    try:
        named = ModelName.parse(value)
    except ModelNameError as error:
        raise ValueError(str(error)) from None
    prefix = value.partition(":")[0]
    if feature := missing_feature_of_destination(prefix):
        raise ValueError(f"names {prefix}, which {needs(feature)}")
    if named.backend and named.backend not in BACKENDS:
        raise ValueError(f"names the backend {named.backend}, which does not exist. It is one of {', '.join(BACKENDS)}")
    return value


def header_name(value: str) -> str:
    """Return the name of a header in lower case. Raises ValueError if it is not a name or holds credentials."""
    if not NAME.fullmatch(value):
        raise ValueError("must be the name of a header, such as x-session-id")
    if is_credential_header(value):
        raise ValueError("is a header with credentials, which Wirekey removes first. Use another header")
    return value.lower()


LOCATED = " or ".join(name for name, provider in PROVIDERS.items() if provider.locations)
"""The providers of which a route may choose the location."""


def location_name(value: str) -> str:
    """Check the name of a location. Raises ValueError if no provider has a host there."""
    having = [provider.locations for provider in PROVIDERS.values() if provider.locations]
    if having and not any(locations.host_in(value) for locations in having):
        raise ValueError(f"must be {having[0].names}")
    return value


Location = Annotated[Text, AfterValidator(location_name), ValueFormat("location of Google Cloud")]
ModelString = Annotated[
    Text, AfterValidator(model_string), ValueFormat("model, such as `gemini-2.5-pro?temperature=0.2`")
]


def model_or_function(value: str) -> str:
    """Check a model with parameters, or a function that chooses one. Raises ValueError."""
    if not is_python(value):
        return model_string(value)
    if not PYTHON_NAME.fullmatch(value):
        raise ValueError("must be a model, or python:MODULE:FUNCTION")
    return value


ModelOverride = Annotated[
    Text,
    AfterValidator(model_or_function),
    ValueFormat("model, such as `gemini-2.5-pro?temperature=0.2`, or python:MODULE:FUNCTION"),
]


class SessionAffinityConfig(ConfigGroup):
    """The setting `session_affinity`: how sessions are identified and how long their keys are remembered."""

    header: Annotated[Text, AfterValidator(header_name), ValueFormat("name of a header")] | None = Field(
        default=None,
        description="Header that identifies a session. null, and for calls without the header: all calls of an agent "
        "are one session.",
        examples=["x-session-id"],
    )
    ttl: Seconds = Field(default=86400.0, description="How long an unused session is remembered.")
    max_sessions: Count = Field(default=10_000, description="Most sessions that are remembered for each pool of keys.")


class FailoverConfig(ConfigGroup):
    """The setting `failover`: the limits of further attempts."""

    max_attempts: AttemptCount = Field(
        default=3, description="Most attempts for one call, including the first. 1 turns failover off."
    )
    max_seconds: Seconds = Field(
        default=60.0, description="No attempt starts later than this after the start of the first."
    )
    max_retry_after: Pause = Field(
        default=2.0, description="Longest Retry-After of a provider that Wirekey waits for. 0: it never waits."
    )


class RouteFailoverConfig(ConfigGroup):
    """The setting `failover` of a route. null stands for the value in the global `failover`."""

    max_attempts: AttemptCount | None = Field(default=None, description="As in `failover`, which is the default.")
    max_seconds: Seconds | None = Field(default=None, description="As in `failover`, which is the default.")
    max_retry_after: Pause | None = Field(default=None, description="As in `failover`, which is the default.")


class RouteTimeoutsConfig(ConfigGroup):
    """The setting `timeouts` of a route. null stands for the value in the global `timeouts`."""

    connect: Seconds | None = Field(default=None, description="As in `timeouts`, which is the default.")
    first_byte: Seconds | None = Field(default=None, description="As in `timeouts`, which is the default.")
    idle: Seconds | None = Field(default=None, description="As in `timeouts`, which is the default.")
    total: Seconds | None = Field(default=None, description="Time for a whole attempt. null: no limit.")


if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[*FORMATS]


class RouteConfig(ConfigGroup):
    """One of `routes`: where calls for some models go, and how."""

    match: Text = Field(
        default="*",
        description="Pattern of the requested model, with `*`, `?` and `[…]`. It is case-sensitive.",
        examples=["gpt-4*"],
    )
    format: Patterns = Field(
        default=(),
        description=f"Only calls in this format: {', '.join(f'`{name}`' for name in FORMATS)}. Like the conditions "
        "below, it is a pattern as in `match`, or a list of them.",
        examples=["openai.chat"],
    )
    called_provider: Patterns = Field(default=(), description="Only calls to the API of this provider.")
    operation: Patterns = Field(default=(), description="Only this operation, such as `embeddings`.")
    agent: Patterns = Field(default=(), description="Only calls of this agent.")
    role: Patterns = Field(default=(), description="Only calls of agents with this role.")
    model: ModelString | None = Field(
        default=None, description="Model to use instead of the requested one.", examples=["gpt-4o-mini"]
    )
    provider: ProviderName | None = Field(
        default=None,
        description="Provider or backend to call. A call in another format is translated, unless the provider supports "
        "the format itself: Gemini supports OpenAI's chat, embeddings and images.",
    )
    upstream_url: RouteUpstream | None = Field(
        default=None,
        description="`https://HOST:PORT/PATH` to connect to instead of the provider's own host. Needs `auth`. The path "
        "is put before that of each call. `http://` is allowed for this machine, or with `insecure_upstream`.",
    )
    insecure_upstream: Flag = Field(
        default=False,
        description="Allow an `http://` upstream on another machine: prompts, responses and `keys` are readable on the "
        "network.",
    )
    auth: RouteAuth | None = Field(
        default=None,
        description="How the key is sent. Default: as the provider expects it. python:… calls your own function.",
    )
    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys for this route instead of the provider's. Needs `provider` or `upstream_url`, which says "
        "where they are sent.",
    )
    aws: AwsConfig | None = Field(
        default=None,
        description="AWS credentials for this route instead of `providers.bedrock.aws`. Needs `provider: bedrock`.",
    )
    region: Region | None = Field(
        default=None,
        description="AWS region for this route, of any partition, instead of the one that the program calls. Needs "
        "`provider: bedrock`.",
    )
    location: Location | None = Field(
        default=None,
        description="Location of Google Cloud for this route, instead of the one that the program calls, or of the "
        f"first one in `providers.{LOCATED}.locations`. Needs `provider: {LOCATED}`.",
        examples=["us-east5"],
    )
    selection: SelectionName | None = Field(
        default=None, description="How to choose one of `keys`. Default: as in the provider's `selection`."
    )
    timeouts: RouteTimeoutsConfig = Field(default=RouteTimeoutsConfig(), description="Time limits for this route.")
    fallback: tuple[ModelString, ...] = Field(
        default=(),
        description="Models to try in turn when this one fails. Each uses its own route, if it has one.",
    )
    failover: RouteFailoverConfig = Field(
        default=RouteFailoverConfig(), description="Further attempts after an attempt has failed."
    )
    speaks: FormatName | None = Field(
        default=None,
        description="Format of the upstream. Calls in other formats are translated to it. null: the format of the call "
        "if the provider supports it, or the provider's own.",
    )
    include_stream_usage: Flag | None = Field(default=None, description="As in `metering`, which is the default.")

    @model_validator(mode="after")
    def check_conditions(self) -> Self:
        """Refuse a route that does not say which calls it is for. Raises ValueError."""
        if not {"match", "format", "called_provider", "operation", "agent", "role"} & self.model_fields_set:
            raise ValueError("match is missing. Add it, or a condition: format, operation, agent or role")
        return self

    @model_validator(mode="after")
    def check_upstream_auth(self) -> Self:
        """Refuse an `upstream_url` without `auth`, and keys that `auth` never uses. Raises ValueError."""
        if self.upstream_url and self.auth is None:
            raise ValueError("upstream_url needs auth, which says how the key is sent: bearer, x-api-key, …, or none")
        keyless = self.auth in ("none", "client", "sigv4") or (self.auth or "").startswith("python:")
        if self.keys and keyless:
            raise ValueError(f"keys are never used with auth: {self.auth}. Remove one of the two")
        if self.upstream_url and not self.upstream_url.tls:
            if not (self.upstream_url.is_loopback or self.insecure_upstream):
                raise ValueError(
                    "upstream_url must begin with https://, or name this machine (127.0.0.1, localhost). To send calls "
                    "unencrypted, set insecure_upstream: true"
                )
            if self.auth in ("client", "sigv4"):
                raise ValueError(f"auth: {self.auth} sends a provider's credential, never without TLS")
        if self.insecure_upstream and (self.upstream_url is None or self.upstream_url.tls):
            raise ValueError("insecure_upstream needs an upstream_url with http://. Remove it")
        if self.auth == "none" and not self.upstream_url:
            raise ValueError("auth: none needs upstream_url: a provider's own host refuses calls without a key")
        return self

    @model_validator(mode="after")
    def check_keys_owner(self) -> Self:
        """Refuse keys that could be sent to another provider, and an upstream that lacks keys. Raises ValueError."""
        if self.keys and not (self.upstream_url or self.named_provider):
            raise ValueError(
                "keys need provider or upstream_url, which says where they are sent: calls of every provider use this "
                "route"
            )
        if self.upstream_url and not self.keys and self.auth in ("bearer", "x-api-key", "x-goog-api-key"):
            raise ValueError(
                f"upstream_url with auth: {self.auth} needs keys: a provider's own keys are not sent to it"
            )
        if self.selection and not self.keys:
            raise ValueError("selection needs keys in this route. Set it at the provider, or add keys")
        return self

    @model_validator(mode="after")
    def check_backend(self) -> Self:
        """Refuse settings of an upstream in a route that leads to a backend, which has its own. Raises ValueError."""
        if self.named_provider in BACKENDS:
            for name in ("upstream_url", "auth", "keys", "speaks"):
                if getattr(self, name):
                    raise ValueError(f"{name} is never used with the backend {self.named_provider}. Remove one of them")
        return self

    @model_validator(mode="after")
    def check_aws(self) -> Self:
        """Refuse AWS settings of a route that does not go to Bedrock, or that never uses them. Raises ValueError."""
        for name in ("aws", "region"):
            if getattr(self, name) and not self.uses_aws:
                raise ValueError(f"{name} needs provider: bedrock")
        if self.aws and (self.keys or self.auth not in (None, "sigv4")):
            raise ValueError(f"aws is never used with {'keys' if self.keys else f'auth: {self.auth}'}. Remove one")
        if self.aws and self.aws.bearer:
            raise ValueError("aws.bearer is for providers.bedrock. In a route, put the reference into keys")
        return self

    @model_validator(mode="after")
    def check_location(self) -> Self:
        """Refuse a location of a route that goes to a provider without locations. Raises ValueError."""
        named = PROVIDERS.get(self.named_provider or "")
        if self.location and not (named and named.locations):
            raise ValueError(f"location needs provider: {LOCATED}")
        return self

    @model_validator(mode="after")
    def check_model(self) -> Self:
        """Refuse a model of another provider, and a fallback to the model that failed. Raises ValueError."""
        named = ModelName.parse(self.model).destination if self.model else None
        if named and self.provider and named != self.provider:
            raise ValueError(f"model names {named}, but provider is {self.provider}. Remove one of the two")
        sent = self.model or self.match
        if sent in self.fallback:
            raise ValueError(f"falls back to {sent}, the model that has just failed. Remove it from fallback")
        return self

    @property
    def uses_aws(self) -> bool:
        """Whether the route names a service of AWS."""
        named = PROVIDERS.get(self.named_provider or "")
        return named is not None and named.credentials.uses_aws

    @property
    def named_provider(self) -> ProviderName | None:
        """The provider or backend that `provider` or the prefix of `model` names."""
        named = ModelName.parse(self.model).destination if self.model else None
        return self.provider or named
