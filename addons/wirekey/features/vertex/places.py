"""The names of projects, locations and models at Vertex AI, and the hosts of the locations."""

from __future__ import annotations

import re
from typing import NamedTuple

OWN_PROJECT = "-"
"""Stands for the project of the credentials."""
PROJECT = rf"(?:{OWN_PROJECT}|[a-z0-9][a-z0-9.:-]{{0,62}})"
LOCATION = r"[a-z][a-z0-9-]{0,62}"
MODEL = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}"


GLOBAL = "aiplatform.googleapis.com"
AREAS = ("us", "eu")
REGION = re.compile(r"[a-z]{2,16}-[a-z]{2,16}[0-9]{1,2}")
LOCATION_NAMES = "global, us, eu, or a region of Google Cloud, such as europe-west4"


class Place(NamedTuple):
    """A project and a location."""

    project: str
    location: str


def host_in(location: str) -> str | None:
    """Return the host of a location of Vertex AI, or None if the name is not a location's.

    https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations
    """
    if location == "global":
        return GLOBAL
    if location in AREAS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-{GLOBAL}" if REGION.fullmatch(location) else None


def location_of(host: str) -> str | None:
    """Return the location of a host of Vertex AI, or None for every other name."""
    area = host.removeprefix("aiplatform.").removesuffix(".rep.googleapis.com")
    region = host.removesuffix(f"-{GLOBAL}")
    return next((name for name in ("global", area, region) if host_in(name) == host), None)
