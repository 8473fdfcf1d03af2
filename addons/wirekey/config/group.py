"""The base class of all configuration models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ConfigGroup(BaseModel):
    """A group of settings. It is immutable, refuses unknown settings, and never shows values in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
