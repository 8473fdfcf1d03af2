"""The settings that rollup adds to the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ByteSize, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.routes import model_string
from wirekey.config.values import Count, Flag, Seconds, Size, Text, ValueFormat

PROMPT = (
    "You get a conversation between a user and an assistant as JSON, possibly after a summary of what came before. "
    "Write its context for the assistant that continues it: what the user wants, facts and names that matter, "
    "decisions, results of tools, and what is still open. Keep numbers, names, paths and identifiers exactly. Write in "
    "the language of the conversation, as briefly as possible, without an introduction."
)

Model = Annotated[Text, AfterValidator(model_string), ValueFormat("model, such as `gemini-2.5-flash?temperature=0.2`")]


class RollupConfig(ConfigGroup):
    """The setting `rollup`: the beginning of a long conversation is replaced with a text that Wirekey has stored."""

    enabled: Flag = Field(
        default=False,
        description="Replace the beginning of conversations that Wirekey has seen, and store conversations in memory "
        "for it. A route can say otherwise. This changes prompts, so the prompt caches of providers no longer match.",
    )
    entries: Count = Field(default=20, description="Most stored conversations of all agents in one process.")
    bytes: Size = Field(default=ByteSize(64 * 1024 * 1024), description="Memory of all stored conversations.")
    threshold: Count = Field(
        default=4096,
        description="Characters of a conversation up to which it is stored as it is. A longer one is summarised.",
    )
    model: Model = Field(
        default="gemini-2.5-flash", description="Model that writes the summaries, with the keys of its provider."
    )
    prompt: Text = Field(default=PROMPT, description="System prompt of the requests for a summary.")
    timeout: Seconds = Field(
        default=60.0, description="Time for one summary. When it is exceeded, the conversation is stored as it is."
    )
    verbatim: Flag = Field(
        default=True,
        description="Add the latest messages to a summary word for word, up to `threshold` characters of them.",
    )


class RollupSetting(ConfigGroup):
    """The setting that is added at the top of the configuration."""

    rollup: RollupConfig = Field(
        default=RollupConfig(), description="Long conversations, whose beginning is replaced with a stored text."
    )


class RollupOfRoute(ConfigGroup):
    """The setting that is added to each route."""

    rollup: Flag | None = Field(
        default=None, description="Whether conversations of this route are rolled up. null: as `rollup.enabled` says."
    )
