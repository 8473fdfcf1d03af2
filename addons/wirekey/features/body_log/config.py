"""The setting `log.bodies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.features.body_log.log import BodyLog


class BodiesSetting(ConfigGroup):
    """The setting that is added to `log`."""

    bodies: AbsolutePath | None = Field(
        default=None,
        description="File for requests and responses with their bodies, as JSON lines, with credentials masked. "
        "null: bodies are not logged.",
        examples=["bodies.jsonl"],
    )


def open_log(config: Config, _: Services) -> BodyLog | None:
    """Return the log of bodies, opened, or None if it is off. Raises OSError."""
    file = config.log.part(BodiesSetting).bodies
    if file is None:
        return None
    from wirekey.features.body_log.log import BodyLog

    return BodyLog(file)
