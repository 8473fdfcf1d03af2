"""The setting `log`: the format and the destination of log lines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, lower_case


class LogConfig(ConfigGroup):
    """The setting `log`: the format and the destination of log lines."""

    format: Literal["console", "json"] | None = Field(
        default=None,
        description="console: lines for people. json: one JSON object per line. null: console on a terminal, json "
        "elsewhere.",
        examples=["json"],
    )
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower_case)] = Field(
        default="info", description="Lowest level that is logged, in any case."
    )
    file: AbsolutePath | None = Field(
        default=None,
        description="Log file. null: standard error. Wirekey reopens the file after logrotate replaces it.",
        examples=["wirekey.log"],
    )
