"""The settings of headers with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.identity import LabelName
from wirekey.config.routes import header_name
from wirekey.config.values import Flag, Text, ValueFormat, one_or_more
from wirekey.core.labels import MOST
from wirekey.features.label_headers.reading import KNOWN, TRACE, LabelHeaders

if TYPE_CHECKING:
    from wirekey.config import Config


def label_header(value: str) -> str:
    """Return the name of a header in lower case. Raises ValueError if it is not a name or holds credentials."""
    return TRACE if value.lower() == TRACE else header_name(value)


def each_header_once(value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Refuse a header that is named for two labels. Raises ValueError."""
    named = [header for headers in value.values() for header in headers]
    for header in named:
        if named.count(header) > 1:
            raise ValueError(f"{header} is named twice. A header has one label")
    return value


HeaderNames = Annotated[
    tuple[Annotated[Text, AfterValidator(label_header)], ...], BeforeValidator(one_or_more), Field(min_length=1)
]
LabelsOfHeaders = Annotated[
    dict[LabelName, HeaderNames],
    Field(max_length=MOST),
    AfterValidator(each_header_once),
    ValueFormat("labels, each with a header or a list of them"),
]


class HeadersOfLabels(ConfigGroup):
    """The part of the setting `identity.labels` that is about headers."""

    known_headers: Flag = Field(
        default=True,
        description="Read the headers of Claude Code, Codex and OpenTelemetry: "
        + "; ".join(f"`{label}` from {', '.join(f'`{name}`' for name in headers)}" for label, headers in KNOWN.items())
        + ". These labels are unverified.",
    )
    headers: LabelsOfHeaders = Field(
        default={},
        description="Further headers, by label. They take the place of known headers of the same label. The labels are "
        "unverified: any program can send any value.",
        examples=[{"team": "x-team", "session": ["x-session-id", "x-conversation"]}],
    )


def label_headers(config: Config) -> LabelHeaders | None:
    """Return the headers with labels, or None if no header has one."""
    settings = config.identity.labels.part(HeadersOfLabels)
    return LabelHeaders.of({**(KNOWN if settings.known_headers else {}), **settings.headers})
