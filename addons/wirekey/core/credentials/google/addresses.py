"""The addresses of Google's servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

STAND_INS = "_WIREKEY_GOOGLE_STAND_INS"
"""A variable for tests: hosts of Google, each with the origin that stands in for it, as JSON."""


def google_url(url: str, environ: Mapping[str, str]) -> str:
    """Return a URL of Google's, at the origin that stands in for its host if `environ` names one."""
    parts = urlsplit(url)
    origin = json.loads(environ.get(STAND_INS, "{}")).get(parts.netloc)
    return f"{origin}{parts.path}" if origin else url
