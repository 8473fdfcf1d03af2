"""The base class of all configuration models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


class ConfigGroup(BaseModel):
    """A group of settings. It is immutable, refuses unknown settings, and never shows values in errors."""

    # The validator of a group is built when it is used. Most groups are only parts of the one of the configuration.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, defer_build=True
    )

    def part[G: ConfigGroup](self, kind: type[G]) -> G:
        """Return this group as one that a feature has added settings to. Raises TypeError if the feature is missing."""
        if not isinstance(self, kind):
            raise TypeError(f"{type(self).__name__} has no settings of {kind.__name__}")
        return self


def settings_of(model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield each setting of a group: its name in the file, its attribute, and its field."""
    for attribute, field in model.model_fields.items():
        yield field.alias or attribute, attribute, field
