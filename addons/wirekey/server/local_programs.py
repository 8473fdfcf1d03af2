"""The backend `gemini-cli-acp` of a running Wirekey: from the configuration to its listener and its routes."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.acp.bridge import HOST, BridgeSettings
from wirekey.acp.environment import program_environment
from wirekey.calls.local_program import NAME
from wirekey.credentials.pool import KeyPool, ProviderKey
from wirekey.model_name import ModelName
from wirekey.routing.candidate import Candidate, Limits, Upstream
from wirekey.secret import Secret

if TYPE_CHECKING:
    from wirekey.acp.bridge import Bridge
    from wirekey.calls.settings import Settings
    from wirekey.config import Config

logger = logging.getLogger(__name__)

DAY = 86_400.0
"""Seconds. The listener itself ends a turn in which the program says nothing."""
TERMS = (
    "The backend {} is enabled: {} responds to calls of agents, with the login of the user that runs Wirekey. The "
    "terms of that account apply, and you answer for the use. Accounts have been suspended for uses that the terms do "
    "not allow."
)


def bridge_settings(config: Config) -> BridgeSettings | None:
    """Return the settings of the backend, or None if it is off."""
    wanted = config.backends.gemini_cli_acp
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


def with_local_programs(settings: Settings, config: Config, bridge: Bridge) -> Settings:
    """Return settings whose routes may lead to local programs, if the configuration enables that."""
    if not config.backends.gemini_cli_acp.enabled:
        return settings
    candidate = Candidate(
        "gemini",
        "x-goog-api-key",
        Upstream(HOST, bridge.port, configured=True, tls=False),
        backend=NAME,
        pool=KeyPool([ProviderKey(NAME, Secret(bridge.key))]),
        limits=Limits(first_byte=DAY, idle=DAY),
        usual_model=ModelName(config.backends.gemini_cli_acp.model),
        listed=config.backends.gemini_cli_acp.models,
        speaks="gemini",
    )
    defaults = {**settings.routes.defaults, NAME: candidate}
    return replace(settings, routes=replace(settings.routes, defaults=defaults))


def terms(config: Config) -> str | None:
    """Return whose account the backend uses, or None if it is off."""
    wanted = config.backends.gemini_cli_acp
    return TERMS.format(NAME, wanted.gemini_cli_executable) if wanted.enabled else None


def warn_of_terms(config: Config) -> None:
    """Log whose account the backend uses, if it is on."""
    if text := terms(config):
        logger.warning("%s", text)
