"""The setting `translation`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Flag


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
