"""The setting `workers`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import ValueFormat

MOST_WORKERS = 128
Workers = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=MOST_WORKERS)] | Literal["auto"], ValueFormat("whole number \\| auto")
]


class WorkersSetting(ConfigGroup):
    """The setting that is added at the top."""

    workers: Workers = Field(
        default=1,
        description="Processes that share the listeners, for more calls than one processor can handle. auto: as many "
        "as the processors, the CPU quota and the memory of the process allow.",
        examples=["auto"],
    )
