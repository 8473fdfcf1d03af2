"""The settings of routes, of what is tried when an attempt fails, and of which key is taken."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from wirekey.config.group import Settings
from wirekey.config.values import AttemptCount, Auth, Count, Flag, Kind, Pause, Reference, Seconds, Text, Upstream
from wirekey.credential_headers import is_credential_header
from wirekey.routing.model_name import ModelName, ModelNameError

ProviderName = Literal["openai", "gemini", "anthropic", "bedrock"]
SelectionName = Literal["round-robin", "first-available", "random", "session-affinity"]


def model_text(value: str) -> str:
    try:
        ModelName.parse(value)
    except ModelNameError as error:
        raise ValueError(str(error)) from None
    return value


def header_name(value: str) -> str:
    from wirekey.extension import NAME

    if not NAME.fullmatch(value):
        raise ValueError("must be the name of a header, such as x-session-id")
    if is_credential_header(value):
        raise ValueError("is a header that holds credentials, which are taken off before; name another one")
    return value.lower()


Model = Annotated[Text, AfterValidator(model_text), Kind("model, as in `gemini-2.5-pro?temperature=0.2`")]


class Affinity(Settings):
    header: Annotated[Text, AfterValidator(header_name), Kind("name of a header")] | None = Field(
        default=None,
        description="Header by which calls belong together. null, and for calls without it: the agent.",
        examples=["x-session-id"],
    )
    ttl: Seconds = Field(default=86400.0, description="How long an unused session is remembered.")
    max_sessions: Count = Field(default=10_000, description="Most sessions remembered, for each pool of keys.")


class Failover(Settings):
    max_attempts: AttemptCount = Field(
        default=3, description="Most attempts for one call, including the first. 1 turns failover off."
    )
    max_seconds: Seconds = Field(
        default=60.0, description="No attempt starts later than this after the start of the first."
    )
    max_retry_after: Pause = Field(
        default=2.0, description="Longest Retry-After of a provider that Wirekey waits for. 0: it never waits."
    )


class RouteFailover(Settings):
    max_attempts: AttemptCount | None = Field(default=None, description="As in `failover`, for this route only.")
    max_seconds: Seconds | None = Field(default=None, description="As in `failover`, for this route only.")
    max_retry_after: Pause | None = Field(default=None, description="As in `failover`, for this route only.")


class RouteTimeouts(Settings):
    connect: Seconds | None = Field(default=None, description="As in `timeouts`, for this route. null: as there.")
    first_byte: Seconds | None = Field(default=None, description="As in `timeouts`, for this route. null: as there.")
    idle: Seconds | None = Field(default=None, description="As in `timeouts`, for this route. null: as there.")
    total: Seconds | None = Field(default=None, description="Of one attempt, from beginning to end. null: none.")


class Route(Settings):
    match: Text = Field(
        description="Pattern for the model asked for, upper and lower case told apart: `*`, `?`, `[…]`.",
        examples=["gpt-4*"],
    )
    model: Model | None = Field(default=None, description="Model to ask for instead.", examples=["gpt-4o-mini"])
    provider: ProviderName | None = Field(
        default=None,
        description="Provider to call. Another one than was called must answer in the same format: Gemini answers "
        "OpenAI's chat, embeddings and images.",
    )
    upstream_url: Upstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead. Needs `auth`."
    )
    auth: Auth | None = Field(
        default=None,
        description="How the upstream takes its key. Default: as the provider does. A function of yours: python:…",
    )
    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys for this route instead of the provider's. Needs `provider` or `upstream_url`, which says "
        "where they are sent.",
    )
    selection: SelectionName | None = Field(
        default=None, description="Which of `keys` is taken. null: as the provider's `selection` says."
    )
    timeouts: RouteTimeouts = Field(default=RouteTimeouts(), description="Time limits for this route.")
    fallback: tuple[Model, ...] = Field(
        default=(), description="Models to try in turn when this one fails, each by its own route if it has one."
    )
    failover: RouteFailover = Field(default=RouteFailover(), description="What is tried when an attempt fails.")
    include_stream_usage: Flag | None = Field(
        default=None, description="As in `metering`, for this route. null: as there."
    )

    @model_validator(mode="after")
    def upstream_has_auth(self) -> Self:
        if self.upstream_url and self.auth is None:
            raise ValueError("upstream_url needs auth, which says how its key is sent: bearer, x-api-key, …, or none")
        keyless = self.auth in ("none", "client", "sigv4") or (self.auth or "").startswith("python:")
        if self.keys and keyless:
            raise ValueError(f"keys are never used with auth: {self.auth}; remove one of the two")
        if self.auth == "none" and not self.upstream_url:
            raise ValueError("auth: none needs upstream_url: a provider's own host takes no call without a key")
        return self

    @model_validator(mode="after")
    def keys_have_an_owner(self) -> Self:
        if self.keys and not (self.upstream_url or self.named_provider):
            raise ValueError(
                "keys need provider or upstream_url, which says whose they are: calls of every provider take this route"
            )
        if self.upstream_url and not self.keys and self.auth in ("bearer", "x-api-key", "x-goog-api-key"):
            raise ValueError(
                f"upstream_url with auth: {self.auth} needs keys: a provider's own keys are not sent there"
            )
        if self.selection and not self.keys:
            raise ValueError("selection is about keys of this route, and it has none; set it at the provider")
        return self

    @model_validator(mode="after")
    def model_and_provider_agree(self) -> Self:
        named = ModelName.parse(self.model).provider if self.model else None
        if named and self.provider and named != self.provider:
            raise ValueError(f"model is one of {named}, and provider says {self.provider}; remove one of the two")
        sent = self.model or self.match
        if sent in self.fallback:
            raise ValueError(f"falls back to {sent}, which is what just failed; remove it from fallback")
        return self

    @property
    def named_provider(self) -> ProviderName | None:
        """The provider, as `provider` or the model's prefix says."""
        named = ModelName.parse(self.model).provider if self.model else None
        return self.provider or named  # type: ignore[return-value]  # the prefix is one of the names
