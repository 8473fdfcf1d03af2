"""The functions that settings name as `python:MODULE:FUNCTION`, and the part of a feature that loads and runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.config.problems import ConfigError
from wirekey.config.values import is_python
from wirekey.feature_registry import needs, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mitmproxy import http

    from wirekey.config.models import Config
    from wirekey.config.problems import Problem
    from wirekey.core.call import Call
    from wirekey.core.model_name import ModelName


class CredentialMaker(Protocol):
    """Makes the credential of each attempt. Two are equal if they run the same function."""

    async def headers(
        self,
        call: Call,
        request: http.Request,
        body: bytes | None,
        *,
        authority: str,
        model: str | None,
        route: str | None,
    ) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers to set on a request, which has no credential yet. Raises Refusal.

        `body` None: it is streamed. `authority`: host and port of the upstream. `model` and `route`: of the attempt.
        """


class ModelChooser(Protocol):
    """Chooses the model of each call."""

    async def model(self, call: Call, request: http.Request, host: str) -> ModelName | None:
        """Return the model to send; None for the requested one. `host`: with its port unless it is 443.

        Raises Refusal.
        """


@dataclass(frozen=True, slots=True)
class OperatorFunctions:
    """The part of a feature that loads functions of the operator, by name and the folder of the configuration.

    `problems` returns those of all functions and classes that a configuration names.
    """

    problems: Callable[[Config], Iterable[Problem]]
    credential: Callable[[str, Path], CredentialMaker]
    model: Callable[[str, Path], ModelChooser]


def function_problems(config: Config) -> list[Problem]:
    """Return the problems of the functions and classes that the configuration names. Imports each of them."""
    if (functions := next(parts(OperatorFunctions), None)) is not None:
        return list(functions.problems(config))
    sources = config._sources  # noqa: SLF001  # of the same package
    message = f"{needs('extensions')}. Use another value"
    return [sources.problem(key, message) for key, _ in named_functions(config)]


def named_functions(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (setting, function) of each setting of the core that names a function."""
    for index, route in enumerate(config.routes):
        if route.auth and is_python(route.auth):
            yield f"routes[{index}].auth", route.auth
    for _, setting, provider in config.providers.entries():
        if is_python(provider.way):
            yield f"{setting}.auth", provider.way
    if config.model_override and is_python(config.model_override):
        yield "model_override", config.model_override


def operator_functions(config: Config) -> OperatorFunctions:
    """Return what loads functions, for a configuration that names one. Raises ConfigError if it cannot be loaded."""
    functions = next(parts(OperatorFunctions), None)
    if functions is None:
        raise ConfigError(function_problems(config))
    return functions
