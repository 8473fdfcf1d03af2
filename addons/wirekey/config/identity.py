"""The setting `identity`: how agents identify themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Flag, Text
from wirekey.core import labels


def label_name(value: str) -> str:
    """Check the name of a label. Raises ValueError."""
    if not labels.NAME.fullmatch(value):
        raise ValueError(f"must have {labels.NAME_RULE}")
    return value


LabelName = Annotated[Text, AfterValidator(label_name)]


class LabelsConfig(ConfigGroup):
    """The setting `identity.labels`: the sources of labels, in addition to the entries of agents."""


class IdentityConfig(ConfigGroup):
    """The setting `identity`: how agents identify themselves."""

    required: Flag = Field(
        default=True,
        description="Refuse calls without an agent token. If false, such calls have no agent and no role, and have "
        "the permissions `web:read` and `web:write`.",
    )
    labels: LabelsConfig = Field(
        default=LabelsConfig(),
        description="Sources of the labels of calls, in addition to the entry of the agent (`wirekey agents set NAME "
        "--label team=search`).",
    )
