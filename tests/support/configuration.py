"""Writes a configuration to a folder and loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wirekey.config import Config, ConfigError, Problem, load

if TYPE_CHECKING:
    from pathlib import Path

LITERAL_KEY = "sk-proj-4f1c9e0a7b3d5e2f8a6c1b0d"


def loaded(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = folder / "wirekey.yaml"
    file.write_text(text)
    return load(file, environ or {})


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ)
    return caught.value.problems
