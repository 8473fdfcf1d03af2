"""The setting `limits.load_shedding`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ByteSize, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Pause, Size
from wirekey.features.load_shedding.stages import Bounds

if TYPE_CHECKING:
    from wirekey.config import Config


class LoadSheddingConfig(ConfigGroup):
    """The setting `limits.load_shedding`."""

    lag: Pause = Field(
        default=0.0,
        description="Delay of the event loop from which new connections are refused with 503. From 1.5 times this "
        "delay, large bodies are refused, too, from twice the delay lists of models, and from three times the delay "
        "all calls. 0: nothing is refused, and all calls wait.",
    )
    large_body: Size = Field(
        default=ByteSize(1024 * 1024),
        description="Request bodies larger than this, and those of unknown length, count as large.",
    )


class LoadSheddingSetting(ConfigGroup):
    """The setting that is added to `limits`."""

    load_shedding: LoadSheddingConfig = Field(
        default=LoadSheddingConfig(), description="Refusals while Wirekey has more work than it can do."
    )


def bounds(config: Config) -> Bounds | None:
    """Return the bounds that a configuration sets, or None if nothing is refused."""
    settings = config.limits.part(LoadSheddingSetting).load_shedding
    return Bounds(settings.lag, settings.large_body) if settings.lag else None
