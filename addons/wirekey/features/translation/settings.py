"""The settings of translation, ready to use, and what signs reasoning state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.identity.installation_keys import REASONING_STATE
from wirekey.features.translation.config import TranslationSetting

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.features.translation.state import StateReader

LOSSES_HEADER = "x-wirekey-losses"
"""With the value `refuse`, the client wants its call refused if its translation loses anything."""


@dataclass(frozen=True, slots=True)
class TranslationSettings:
    """The setting `translation`, for calls whose route does not say otherwise."""

    strict: bool = False
    """Whether a request that loses anything by its translation is refused."""
    max_tokens: int = 8192
    carries_reasoning_state: bool = True


DEFAULTS = TranslationSettings()


def translation_settings(config: Config) -> TranslationSettings:
    """Return the settings of translation."""
    found = config.part(TranslationSetting).translation
    return TranslationSettings(found.losses == "refuse", found.max_tokens, found.state == "embedded")


def open_states(_: Config, services: Services) -> StateReader:
    """Return what signs and verifies the reasoning state that travels through clients of another format."""
    from wirekey.features.translation.state import StateReader

    key, *earlier = services.agents.derived_keys(REASONING_STATE)
    return StateReader(key, tuple(earlier), names_key=bool(services.agents.masters))
