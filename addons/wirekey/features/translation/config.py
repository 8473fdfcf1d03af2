"""The settings that translation adds to the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Flag, Text

if TYPE_CHECKING:
    from wirekey.config import Config


class TranslationConfig(ConfigGroup):
    """The setting `translation`: calls whose route leads to a provider of another format."""

    enabled: Flag = Field(
        default=True,
        description="Translate calls whose route leads to an upstream of another format. false: refuse them.",
    )
    losses: Literal["warn", "refuse"] = Field(
        default="warn",
        description="Members of a request that the upstream lacks. warn: leave them out if the meaning stays the same, "
        "and name them in headers of the response. refuse: refuse the call.",
    )
    state: Literal["embedded", "off"] = Field(
        default="embedded",
        description="Reasoning state of a provider, in responses to programs of another format. embedded: signed, so "
        "that the program sends it back and the model reads it again. off: leave it out.",
    )
    max_tokens: Count = Field(
        default=8192, description="Limit of output tokens for an upstream that demands one, if the request has none."
    )


class TranslationSetting(ConfigGroup):
    """The setting that is added at the top of the configuration."""

    translation: TranslationConfig = Field(
        default=TranslationConfig(), description="Calls whose route leads to a provider of another format."
    )


class RouteTranslationConfig(ConfigGroup):
    """The setting `translation` of a route."""

    losses: Literal["warn", "refuse"] | None = Field(
        default=None, description="As in the global `translation`, which is the default."
    )
    drop: tuple[Text, ...] = Field(
        default=(),
        description="Members that may be left out although the meaning changes without them, by the name that the "
        "refusal gives.",
        examples=[["stop", "tools.web_search"]],
    )


class TranslationOfRoute(ConfigGroup):
    """The setting that is added to each route."""

    translation: RouteTranslationConfig = Field(
        default=RouteTranslationConfig(), description="Translation of the calls of this route."
    )


def is_enabled(config: Config) -> bool:
    """Return whether a configuration lets calls go to upstreams of another format."""
    return config.part(TranslationSetting).translation.enabled
