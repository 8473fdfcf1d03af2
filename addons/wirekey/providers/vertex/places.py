"""The names of projects, locations and models at Vertex AI, as they stand in paths and messages."""

from __future__ import annotations

from typing import NamedTuple

OWN_PROJECT = "-"
"""Stands for the project of the credentials."""
PROJECT = rf"(?:{OWN_PROJECT}|[a-z0-9][a-z0-9.:-]{{0,62}})"
LOCATION = r"[a-z][a-z0-9-]{0,62}"
MODEL = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}"


class Place(NamedTuple):
    """A project and a location."""

    project: str
    location: str
