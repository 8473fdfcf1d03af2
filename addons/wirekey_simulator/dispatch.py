"""From a request to a response: the checks that all providers share, then the provider's own module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

import structlog

from wirekey_simulator import sigv4
from wirekey_simulator.behaviour import PLAIN, Behaviour
from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.strictness import quoted_key, refuse_the_misplaced

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wirekey_simulator.script import Script
    from wirekey_simulator.sigv4 import Account
    from wirekey_simulator.state import State

SENTENCES = {
    400: "The request was invalid (simulated).",
    401: "Incorrect API key provided (simulated).",
    403: "You are not allowed to do this (simulated).",
    404: "There is no such thing (simulated).",
    408: "The request took too long (simulated).",
    413: "The request is too large (simulated).",
    429: "Rate limit reached (simulated). Please try again later.",
    500: "The server had an error (simulated).",
    502: "Bad gateway (simulated).",
    503: "The service is unavailable (simulated).",
    529: "Overloaded (simulated).",
}


class ProviderModule(Protocol):
    """The functions of each provider's module."""

    def respond(self, request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
        """Return the response to a request whose credentials are good. Raises BadRequest."""

    def failure(self, status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:
        """Return an error in the provider's shape."""

    def check_credentials(self, request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
        """Return the sentence with which the provider refuses these credentials, or None if they are good."""


class SimulatedProviders(Protocol):
    """The credentials, behaviours and objects of all providers, as a simulator holds them."""

    keys: Mapping[str, Collection[str]]
    accept_sigv4_unverified: bool
    aws_credentials: Mapping[str, str | Account]
    script: Script
    state: State


def response_for(
    simulator: SimulatedProviders, provider: str, request: SimulatedRequest
) -> tuple[SimulatedResponse, Behaviour]:
    """Return the response and the behaviour to send it with. Never raises: errors are responses too."""
    try:
        module = provider_module(provider)
    except ImportError as error:
        return json_response({"error": f"the simulator has no responses for {provider}: {error}"}, 501), PLAIN
    behaviour = PLAIN
    try:
        behaviour = simulator.script.behaviour_of(request)
        return _respond(simulator, module, provider, request, behaviour), behaviour
    except BadRequest as error:
        return module.failure(error.status, error.message, behaviour), behaviour
    except ValueError as error:
        return module.failure(400, str(error), behaviour), behaviour
    except Exception as error:
        structlog.get_logger().exception("simulator_failed", path=request.path)
        return module.failure(500, f"The simulator itself failed: {type(error).__name__}", behaviour), behaviour


def provider_module(provider: str) -> ProviderModule:
    """Return the module of a provider. Raises ImportError if the provider is unknown."""
    module: ProviderModule = importlib.import_module(f"wirekey_simulator.{provider}")
    return module


def _respond(
    simulator: SimulatedProviders,
    module: ProviderModule,
    provider: str,
    request: SimulatedRequest,
    behaviour: Behaviour,
) -> SimulatedResponse:
    refuse_the_misplaced(request, provider)
    status = getattr(module, "WRONG_CREDENTIAL_STATUS", 401)
    if behaviour.echo_key:
        return module.failure(status, f"Incorrect API key provided: {quoted_key(request)}.", behaviour)
    signed = provider == "bedrock" and sigv4.is_signed(request)
    if signed and simulator.aws_credentials:
        refused = sigv4.refusal_response(request, simulator.aws_credentials)
        if refused:
            return refused
    elif not (signed and simulator.accept_sigv4_unverified):
        sentence = module.check_credentials(request, simulator.keys.get(provider))
        if sentence:
            return module.failure(status, sentence, behaviour)
    if behaviour.fail:
        sentence = SENTENCES.get(behaviour.fail, f"Status {behaviour.fail} (simulated).")
        response = module.failure(behaviour.fail, sentence, behaviour)
        if behaviour.retry_after is not None:
            response.headers.append(("retry-after", f"{behaviour.retry_after:g}"))
        return response
    return module.respond(request, behaviour, simulator.state)
