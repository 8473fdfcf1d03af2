"""Stand-ins for the servers of Google."""

from __future__ import annotations

import json

from wirekey.core.credentials.google.addresses import STAND_INS

LOGIN_HOSTS = ("accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com")
CODE_ASSIST_HOST = "cloudcode-pa.googleapis.com"


def stand_ins(*, code_assist: str = "", logins: str = "") -> dict[str, str]:
    """The variable that leads Wirekey to these origins: that of Code Assist, and that of the servers of logins."""
    origins = dict.fromkeys(LOGIN_HOSTS, logins) | {CODE_ASSIST_HOST: code_assist}
    return {STAND_INS: json.dumps({host: origin for host, origin in origins.items() if origin})}
