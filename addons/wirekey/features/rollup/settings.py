"""The settings of rollup, ready to use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.rollup.config import RollupOfRoute, RollupSetting

if TYPE_CHECKING:
    from wirekey.config import Config


@dataclass(frozen=True, slots=True)
class RollupSettings:
    """The setting `rollup`. `enabled`: for calls whose route does not say. `timeout`: seconds."""

    enabled: bool
    entries: int
    bytes: int
    threshold: int
    model: str
    prompt: str = field(repr=False)
    timeout: float
    verbatim: bool


def rollup_settings(config: Config) -> RollupSettings | None:
    """Return the settings of rollup, or None if neither the configuration nor a route turns it on."""
    rollup = config.part(RollupSetting).rollup
    if not rollup.enabled and not any(route.part(RollupOfRoute).rollup for route in config.routes):
        return None
    return RollupSettings(**rollup.model_dump())
