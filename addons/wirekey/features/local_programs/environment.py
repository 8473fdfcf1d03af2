"""The environment of a local program: what it needs to run, and none of Wirekey's secrets. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|TMPDIR|TEMP|TMP|XDG_[A-Z_]+|SSL_CERT_FILE|"
    r"SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|NO_PROXY|SYSTEMROOT|SYSTEMDRIVE|COMSPEC|PATHEXT|WINDIR|APPDATA|LOCALAPPDATA|"
    r"USERPROFILE|PROGRAMDATA|PROGRAMFILES(?:\(X86\))?",
    re.IGNORECASE,
)
"""Names of variables that every program may have. None holds a credential."""


def program_environment(environ: Mapping[str, str], also: Collection[str]) -> dict[str, str]:
    """Return the variables for a program. `also` are those that the operator names."""
    return {name: value for name, value in environ.items() if PASSED.fullmatch(name) or name in also}
