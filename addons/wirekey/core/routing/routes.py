"""The routes of a configuration, and the candidates that a call has by them. Pure.

The first route whose pattern fits the model asked for is taken. A call that asks for no model takes a route only if
its operation leaves the model to the provider, and then one that fits every name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import TYPE_CHECKING

from wirekey.core.errors import Fault, Refusal
from wirekey.core.model_name import ModelName
from wirekey.core.operation import Kind
from wirekey.core.routing.candidate import NO_LIMITS
from wirekey.core.routing.translating import missing_note
from wirekey.feature import NO_VALUES
from wirekey.feature_registry import missing_feature_of_destination, needs
from wirekey.providers.formats import CONVERSATIONS, COUNTS, EMBEDDINGS, FORMATS, HTTP_INSTEAD, TRANSLATED
from wirekey.providers.registry import (
    BACKENDS,
    DEFAULT_PROVIDER,
    PROVIDERS,
    answered_as,
    owner_of_model,
    provider_of_backend,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.config.operator_functions import CredentialMaker
    from wirekey.core.call import Agent
    from wirekey.core.credentials.aws import AwsCredentialCache
    from wirekey.core.credentials.pool import KeyPool
    from wirekey.core.operation import Operation
    from wirekey.core.routing.candidate import Auth, Candidate, Failover, Limits, Upstream
    from wirekey.core.routing.conditions import Conditions
    from wirekey.feature import FeatureValues


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A rule for calls whose requested model matches `pattern` (fnmatch, case-sensitive).

    None: as without the route.
    """

    label: str
    pattern: str
    provider: str | None = None
    upstream: Upstream | None = None
    auth: Auth | None = None
    pool: KeyPool | None = None
    maker: CredentialMaker | None = None
    model: ModelName | None = None
    fallback: tuple[ModelName, ...] = ()
    limits: Limits = NO_LIMITS
    failover: Failover | None = None
    asks_usage: bool | None = None
    conditions: Conditions | None = None
    aws: AwsCredentialCache | None = None
    region: str | None = None
    location: str | None = None
    speaks: str | None = None
    features: FeatureValues = NO_VALUES
    _fits: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fits", re.compile(translate(self.pattern)))

    def fits(self, model: str) -> bool:
        """Return whether a requested model matches the pattern."""
        return self._fits.match(model) is not None

    def candidate(self, called: str, defaults: Mapping[str, Candidate]) -> Candidate:
        """Return the route's own candidate for a call of a provider or backend."""
        usual = default_of(self.provider or provider_of(self.speaks, called), defaults)
        auth = self.auth or ("provider" if self.pool else usual.auth)
        return replace(
            usual,
            auth=auth,
            upstream=self.upstream or usual.upstream,
            is_own_server=self.upstream is not None,
            model=self.model,
            pool=self.pool or (None if self.upstream or self.aws else usual.pool),
            maker=self.maker,
            limits=usual.limits if self.limits == NO_LIMITS else self.limits,
            route=self.label,
            failover=self.failover,
            aws=self.aws,
            region=self.region,
            location=self.location,
            asks_usage=self.asks_usage,
            speaks=self.speaks or usual.speaks,
            features=self.features,
        )


def default_of(name: str, defaults: Mapping[str, Candidate]) -> Candidate:
    """Return the candidate of a provider or a backend. Raises Refusal(403) for a backend that is not enabled."""
    if (found := defaults.get(name)) is not None:
        return found
    raise not_enabled(name)


def not_enabled(name: str) -> Refusal:
    """Return the refusal of a call for a provider or a backend that the configuration does not enable."""
    if name in BACKENDS:
        fix = f"The operator enables it with backends.{name}.enabled in wirekey.yaml."
    elif name in PROVIDERS:
        fix = f"The operator enables it with {PROVIDERS[name].setting} in wirekey.yaml."
    elif feature := missing_feature_of_destination(name):
        fix = f"It {needs(feature)}."
    else:
        fix = f"Wirekey has no such backend. The backends are: {', '.join(BACKENDS) or 'none'}."
    what = "provider" if name in PROVIDERS else "backend"
    message = f"The {what} {name} is not enabled. {fix}"
    return Refusal(403, "backend_not_enabled", message, Fault.OPERATOR)


def provider_of(speaks: str | None, called: str) -> str:
    """Return the provider whose protocol an upstream of a format has: the one that was called, if it has the format."""
    if speaks is None or speaks in PROVIDERS[provider_of_backend(called)].formats.speaks:
        return called
    return next(name for name, provider in PROVIDERS.items() if speaks in provider.formats.speaks)


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """All routes. `defaults`: provider or enabled backend → the candidate of a call that no route matches."""

    defaults: Mapping[str, Candidate]
    routes: Sequence[Route] = ()
    override: ModelName | None = None
    """The model for everything."""
    translates: bool = True
    """Whether a call may go to an upstream of another format."""
    default_backend: str | None = None
    """The backend of calls that no route matches, in formats that are not another provider's own."""

    def find(  # what is known of a call, in the order in which it is known
        self,
        model: str | None,
        operation: Operation,
        called: str = "",
        agent: Agent | None = None,
        named: str | None = None,
    ) -> Route | None:
        """Return the first route that fits a requested model and whose conditions hold, or None.

        `called`: the provider whose API the program calls. `named`: the provider or backend in front of the model's
        name, for which no route to a different one is used.
        """
        if model is None and operation.kind is not Kind.INFERENCE:
            return None
        for route in self.routes:
            if named and route.provider not in {None, named}:
                continue
            if route.fits(model or "") and (
                route.conditions is None or route.conditions.hold(operation, called, agent)
            ):
                return route
        return None

    def candidates(  # noqa: PLR0917  # what is known of a call, in the order in which it is known
        self,
        called: str,
        operation: Operation,
        target: bytes,
        asked: str | None,
        wanted: str | None = None,
        agent: Agent | None = None,
        *,
        chosen: ModelName | None = None,
        named: str | None = None,
        by_model: bool = False,
    ) -> tuple[Candidate, ...]:
        """Return the candidates of a call of the provider `called`, in order; at least one.

        `named` is the provider or backend in front of the model's name. `by_model`: whether the call came on a path
        that several providers have.

        `wanted` is the model that the policy demands: its route is used, and no other model is sent. `chosen` is the
        model that the operator's function chose, for calls whose route sets none. Raises
        Refusal(400) if the route leads to a provider that does not answer this call, Refusal(403) if it leads to a
        backend that is not enabled.
        """
        route = self.find(wanted or asked, operation, called, agent, None if wanted else named)
        if route is None and named is None:
            named = self.backend_for(wanted or asked, operation, called, by_model=by_model)
        name = named or called
        found_by_route = route.candidate(name, self.defaults) if route else default_of(name, self.defaults)
        planned = replace(found_by_route, model=ModelName(wanted)) if wanted else found_by_route
        sent = planned.model or chosen or self.override
        own = self.reached(planned, called, operation, target, sent.name if sent else asked or "")
        if own is None:
            raise elsewhere(found_by_route, called, operation)
        if operation.kind is Kind.LISTING:
            return (own if own.model is None else replace(own, model=None),)
        if wanted:
            return (replace(own, model=ModelName(wanted)),)
        if own.model is None and (override := chosen or self.override):
            own = replace(own, model=override)
        if own.model is None and own.usual_model and named is None and owner_of_model(asked or "") != own.provider:
            own = replace(own, model=own.usual_model)
        if route is None or not route.fallback:
            return (own,)
        others = (
            self.fallback(name, self.find(name.name, operation, called, agent, name.destination), found_by_route)
            for name in route.fallback
        )
        reached = (self.reached(other, called, operation, target) for other in others)
        return (own, *(other for other in reached if other is not None))

    def backend_for(self, model: str | None, operation: Operation, called: str, *, by_model: bool) -> str | None:
        """Return the default backend if it takes a call that no route matches, or None.

        OpenAI's format is taken on the paths that several providers have. A model that belongs to Anthropic or Bedrock
        stays with them.
        """
        if self.default_backend is None:
            return None
        provider = PROVIDERS[called]
        is_google, by_model = provider.formats.serves_google_models, provider.gateway.leads_by_model and by_model
        if operation.name not in CONVERSATIONS and not (is_google and operation.name in COUNTS):
            return None
        if provider.family or not (is_google or by_model):
            return None
        owner = provider if model is None else PROVIDERS[owner_of_model(model)]
        is_others = not owner.formats.serves_google_models and owner is not DEFAULT_PROVIDER
        return None if is_others else self.default_backend

    def reached(
        self, candidate: Candidate, called: str, operation: Operation, target: bytes, model: str = ""
    ) -> Candidate | None:
        """Return a candidate with the format that its requests are translated to, or None if it cannot be reached.

        `model`: the one that is sent, unless the candidate has its own.
        """
        client = TRANSLATED.get(operation.name)
        if candidate.operations is not None:
            if operation.name in candidate.operations:
                return candidate if candidate.speaks is None else replace(candidate, speaks=None)
            translates = self.translates and operation.name in CONVERSATIONS
            return replace(candidate, speaks=PROVIDERS[candidate.provider].formats.speaks[0]) if translates else None
        speaks = configured_format(candidate, operation)
        form = client or HTTP_INSTEAD.get(operation.name)
        keeps_format = speaks is None or (form is not None and form in {speaks, FORMATS[speaks].vectors})
        model = candidate.model.name if candidate.model else model
        if keeps_format and is_answered(called, target, operation, candidate, model):
            return candidate if candidate.speaks is None else replace(candidate, speaks=None)
        if client is None or not self.translates:
            return None
        provider = PROVIDERS[candidate.provider]
        if operation.name in EMBEDDINGS:
            upstream = provider.formats.embeddings(model)
        else:
            upstream = speaks or provider.formats.default(client, model)
        cannot_count = operation.name in COUNTS and upstream is not None and FORMATS[upstream].counted_in
        if upstream in {None, client} or cannot_count:
            return None  # it makes no vectors, or is a server that cannot count
        return replace(candidate, speaks=upstream)

    def fallback(self, name: ModelName, route: Route | None, own: Candidate) -> Candidate:
        """Return the candidate of a fallback model: by its own route if it has one, or else by the provider's settings.

        A fallback that its own route matches uses the upstream of that route.
        """
        provider = name.destination or own.backend or own.provider
        if route is None:
            return replace(default_of(provider, self.defaults), model=name, route=own.route, limits=own.limits)
        if route.label == own.route and provider == (own.backend or own.provider):
            return replace(own, model=name)
        other = route.candidate(provider, self.defaults)
        return replace(other, model=other.model or name)


def is_answered(called: str, target: bytes, operation: Operation, candidate: Candidate, model: str) -> bool:
    """Return whether the provider of a candidate answers an operation for a model in the format of the program."""
    upstream, form = PROVIDERS[candidate.provider], TRANSLATED.get(operation.name)
    if called != candidate.provider and upstream.receives(operation, model):
        return True
    if form and candidate.model and not upstream.formats.answers(form, model):
        return False
    return equivalent_target(called, target, operation, candidate.provider) is not None


def equivalent_target(called: str, target: bytes, operation: Operation, provider: str) -> bytes | None:
    """Return the target that means the same at another provider, or None if that does not answer this format."""
    return PROVIDERS[called].operations.equivalent_target(target, operation, answered_as(called, provider))


def configured_format(candidate: Candidate, operation: Operation) -> str | None:
    """Return the format that a route says its upstream has, for an operation; None: the client's own, if it has it."""
    speaks = candidate.speaks
    form = FORMATS[speaks] if speaks else None
    if form is None or (operation.name in EMBEDDINGS and form.vectors is None):
        return None
    if operation.name in COUNTS and form.counted_in and not candidate.is_own_server:
        return form.counted_in
    return speaks


def elsewhere(own: Candidate, called: str, operation: Operation) -> Refusal:
    """Return the refusal of a call whose route leads to a provider that does not answer it."""
    name = own.backend or own.provider
    note = missing_note() if operation.name in TRANSLATED else ""
    sends = f"The operator's {own.route} sends this model" if own.route else "This model goes"
    return Refusal(
        400,
        "format_not_offered",
        f"{sends} to {name}, which does not answer {operation.name} in the format of {called}. Call {own.provider} in "
        f"its own format.{note}",
        Fault.OPERATOR if own.route else Fault.CALLER,
    )
