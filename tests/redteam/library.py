"""All techniques, in the order of their numbers."""

from __future__ import annotations

from tests.redteam.families import process, proxy, requests

ALL = (*requests.TECHNIQUES, *proxy.TECHNIQUES, *process.TECHNIQUES)
