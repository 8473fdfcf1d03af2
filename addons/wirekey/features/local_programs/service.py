"""The backend `gemini-cli-acp` of a running Wirekey: from the configuration to its listener and its routes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.model_name import ModelName
from wirekey.core.routing.candidate import Candidate, Limits, Upstream
from wirekey.core.secret import Secret
from wirekey.features.local_programs.bridge import HOST, Bridge, BridgeSettings
from wirekey.features.local_programs.config import LocalProgramSetting
from wirekey.features.local_programs.environment import program_environment
from wirekey.features.local_programs.steps import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.config import Config
    from wirekey.feature import FeatureValues
    from wirekey.features.local_programs.config import LocalProgramConfig
    from wirekey.server.feature_parts import ServiceStart

DAY = 86_400.0
"""Seconds. The listener itself ends a turn in which the program says nothing."""
TERMS = (
    "The backend {} is enabled: {} responds to calls of agents, with the login of the user that runs Wirekey. The "
    "terms of that account apply, and you answer for the use. Accounts have been suspended for uses that the terms do "
    "not allow."
)


@dataclass(frozen=True, slots=True)
class LocalPrograms:
    """The use of local programs by one version of the configuration. A reload keeps the listener.

    `settings`: None if the backend is off. Programs that run then end when they are idle.
    """

    bridge: Bridge
    settings: BridgeSettings | None
    body_bytes: int

    @classmethod
    def prepare(cls, start: ServiceStart) -> LocalPrograms:
        """Return the use of local programs as configured."""
        previous = start.previous.find(LocalPrograms)
        bridge = previous.bridge if previous else Bridge()
        return cls(bridge, bridge_settings(start.config), start.config.limits.body_bytes)

    def begin(self) -> None:
        """Use the settings for the calls that follow."""
        self.bridge.use(self.settings)


def listen(opened: FeatureValues) -> None:
    """Open the listener if the backend is on, within the event loop."""
    found = opened.find(LocalPrograms)
    if found and found.settings:
        from wirekey.features.local_programs.bridge_server import bridge_server  # its HTTP server takes 4 MiB

        found.bridge.open(lambda: bridge_server(found.bridge, found.body_bytes))


async def end(opened: FeatureValues) -> None:
    """Close the listener, and end all programs."""
    if found := opened.find(LocalPrograms):
        await found.bridge.close()


def setting(config: Config) -> LocalProgramConfig:
    """Return the setting of the backend."""
    return config.backends.part(LocalProgramSetting).gemini_cli_acp


def bridge_settings(config: Config) -> BridgeSettings | None:
    """Return the settings of the backend, or None if it is off."""
    wanted = setting(config)
    if not wanted.enabled:
        return None
    return BridgeSettings(
        wanted.gemini_cli_executable,
        wanted.arguments,
        program_environment(os.environ, wanted.environment),
        wanted.workspace,
        wanted.workspaces,
        wanted.auto_accept,
        wanted.processes,
        wanted.idle_timeout,
        wanted.process_timeout,
    )


def backends(config: Config, opened: FeatureValues) -> Mapping[str, Candidate]:
    """Return the candidate of local programs by the name of the backend, if the configuration enables it."""
    wanted, found = setting(config), opened.find(LocalPrograms)
    if not wanted.enabled or found is None:
        return {}
    candidate = Candidate(
        "gemini",
        "x-goog-api-key",
        Upstream(HOST, found.bridge.port, configured=True, tls=False),
        backend=NAME,
        pool=KeyPool([ProviderKey(NAME, Secret(found.bridge.key))]),
        limits=Limits(first_byte=DAY, idle=DAY),
        usual_model=ModelName(wanted.model),
        listed=wanted.models,
        speaks="gemini",
    )
    return {NAME: candidate}


def terms(config: Config) -> Iterator[str]:
    """Yield whose account the backend uses, if it is on."""
    wanted = setting(config)
    if wanted.enabled:
        yield TERMS.format(NAME, wanted.gemini_cli_executable)
