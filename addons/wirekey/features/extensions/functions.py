"""The operator's functions that settings of the core name, and the values of the extensions' own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.config import ConfigError
from wirekey.config.operator_functions import named_functions
from wirekey.extension import ExtensionError
from wirekey.features.extensions.calls import call_info, extension_failed, head_of
from wirekey.features.extensions.config import CheckSetting, ExtensionsSetting
from wirekey.features.extensions.running import Extension, KeyCheck, ModelChoice, RequestHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mitmproxy import http

    from wirekey.config import Config, Problem
    from wirekey.core.call import Call
    from wirekey.core.model_name import ModelName
    from wirekey.feature import FeatureValues


@dataclass(frozen=True, slots=True)
class FunctionCredential:
    """Implements `wirekey.config.operator_functions.CredentialMaker` with the operator's function."""

    extension: Extension

    @classmethod
    def load(cls, name: str, folder: Path) -> FunctionCredential:
        """Import a function. Raises ExtensionError."""
        return cls(Extension.load(name, folder))

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
        """Return the headers that the function makes. Raises Refusal if it fails."""
        info = call_info(call, model=model, route=route)
        try:
            return tuple(await self.extension.headers(info, head_of(request, authority), body))
        except ExtensionError as error:
            raise extension_failed("The credential of this call could not be made", error) from error


@dataclass(frozen=True, slots=True)
class FunctionModel:
    """Implements `wirekey.config.operator_functions.ModelChooser` with the operator's function."""

    choice: ModelChoice

    @classmethod
    def load(cls, name: str, folder: Path) -> FunctionModel:
        """Import a function. Raises ExtensionError."""
        return cls(ModelChoice.load(name, folder))

    async def model(self, call: Call, request: http.Request, host: str) -> ModelName | None:
        """Return the model that the function chooses. Raises Refusal if it fails."""
        try:
            return await self.choice.model(call_info(call), head_of(request, host))
        except ExtensionError as error:
            raise extension_failed("The model of this call could not be chosen", error) from error


@dataclass(frozen=True, slots=True)
class HooksInUse:
    """The operator's extensions that run around each call, in order."""

    hooks: tuple[RequestHook, ...]


def hooks_in_use(config: Config, previous: FeatureValues) -> HooksInUse | None:
    """Return the operator's request hooks. Those that stay keep their objects. Raises ConfigError."""
    sources, hooks = config._sources, []  # noqa: SLF001  # it was checked with the same folder
    kept = previous.find(HooksInUse)
    for index, name in enumerate(config.part(ExtensionsSetting).extensions):
        try:
            hooks.append(RequestHook.load(name, sources.folder, kept.hooks if kept else ()))
        except ExtensionError as error:
            raise ConfigError([sources.problem(f"extensions[{index}]", str(error))]) from None
    return HooksInUse(tuple(hooks)) if hooks else None


def function_problems(config: Config) -> Iterator[Problem]:
    """Yield the problems of the functions and classes that a configuration names. Imports each of them."""
    sources = config._sources  # noqa: SLF001  # it reports places in the file
    named: list[tuple[str, str, Callable[[str, Path], object]]] = [
        (key, name, ModelChoice.load if key == "model_override" else Extension.load)
        for key, name in named_functions(config)
    ]
    names = config.part(ExtensionsSetting).extensions
    named += [(f"extensions[{index}]", name, RequestHook.load_class) for index, name in enumerate(names)]
    if check := config.identity.part(CheckSetting).check:
        named.append(("identity.check", check, KeyCheck.load))
    for key, name, load in named:
        try:
            load(name, sources.folder)
        except ExtensionError as error:
            yield sources.problem(key, str(error))
