"""Notices to operators while prompts and responses are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wirekey.feature import FeatureValues


def file_of(opened: FeatureValues) -> Path | None:
    """Return the file of the log, or None if it is off."""
    from wirekey.features.body_log.log import BodyLog  # commands that only read the configuration do without it

    log = opened.find(BodyLog)
    return log.file.path if log else None


def warnings(opened: FeatureValues) -> Iterator[str]:
    """Yield what is logged at the start."""
    if file := file_of(opened):
        yield (
            "REQUESTS AND RESPONSES ARE LOGGED: log.bodies writes prompts and responses of all agents to "
            f"{file}. Credentials are masked, other content is not. Remove the setting and restart to stop it."
        )


def banner(opened: FeatureValues) -> Iterator[str]:
    """Yield the lines of the startup banner."""
    if file := file_of(opened):
        yield f"REQUESTS AND RESPONSES ARE LOGGED: log.bodies writes prompts and responses to {file}."
        yield ""


def notes(opened: FeatureValues) -> Iterator[tuple[str, str, str]]:
    """Yield the entry of the live page."""
    if file := file_of(opened):
        yield (
            "bad",
            f"Prompts and responses of all agents are logged to {file} (log.bodies).",
            "Remove the setting and restart.",
        )
