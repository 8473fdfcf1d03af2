"""Finds the environment variables that contain credentials, so that programs start without them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PLACEHOLDER = "wirekey-holds-the-key"
"""The value of key variables for SDKs that require one. Wirekey removes it from requests."""

POINTERS = frozenset(name for provider in PROVIDERS.values() for name in provider.credentials.variables.pointers)
"""Names of variables that tell an SDK where to find a credential. Their values are not secrets."""
LAST_WORD = re.compile(
    r"(?:\A|_)(?:\w*API_?KEYS?|KEYS?|TOKENS?|SECRETS?|CREDENTIALS?)"
    # Programs that have several append which one it is, or how it is written.
    r"(?:_?\d{1,3}|_V\d|_[A-C]|_(?:OLD|NEW|PREV|PREVIOUS|NEXT|BACKUP|BAK|COPY|PROD|PRODUCTION|LIVE|DEV|TEST|STAGING|MAIN"
    r"|DEFAULT|PRIMARY|SECONDARY|ALT|FALLBACK|TMP|JSON|B64|BASE64))*\Z"
)
"""How the name of a variable that contains a credential ends."""
ANYWHERE = re.compile(r"(?:\A|_)(?:API_?KEYS?|ACCESS_TOKENS?|AUTH_TOKENS?|BEARER_TOKENS?|SECRET_(?:ACCESS_)?KEYS?)_")
"""Words that make a variable one with a credential wherever they are in its name: OPENAI_API_KEY_OF_TEAM_A."""
HARMLESS_END = re.compile(r"_(?:PUBLIC_KEYS?|PUBLISHABLE_KEYS?|FILE|PATH|DIR|URL|URI|NAME|ID|HEADER|HELPER|COMMAND)\Z")
"""How a name ends that tells where a credential is, or has what everybody may know."""
IRREGULAR = frozenset({"AWS_ACCESS_KEY_ID", "QIANFAN_AK", "QIANFAN_SK"})
"""Names of credentials that end in no such word."""
NEEDED = frozenset(
    [
        "GPG_KEY",
        "GPG_KEYS",
        "XDG_ACTIVATION_TOKEN",
        "VSCODE_GIT_IPC_AUTH_TOKEN",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GITHUB_ENTERPRISE_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "HOMEBREW_GITHUB_API_TOKEN",
        "GITLAB_TOKEN",
        "CI_JOB_TOKEN",
        "BITBUCKET_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "NPM_TOKEN",
        "NODE_AUTH_TOKEN",
        "CARGO_REGISTRY_TOKEN",
    ]
)
"""Names that end like these, and that a desktop, Git, a forge or a package registry needs. None is a key for models or
of Wirekey."""
SHORTEST = 8
"""Shorter values are no credentials, such as `CACHE_KEY=v2`."""
SEPARATORS = re.compile(r"[\s,;|]+")
LONG = 12
"""Secrets of at least this number of characters are searched inside values, not only as parts of a list."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Variables to remove from a program's environment, in addition to those that the configuration names."""

    secret: tuple[str, ...] = ()
    """Variables whose value contains a configured secret or another removed credential."""
    known: tuple[str, ...] = ()
    """Other variables with the name of a credential."""


def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name usually contains a credential."""
    upper = name.upper()
    if upper in IRREGULAR:
        return True
    if upper in NEEDED or HARMLESS_END.search(upper):
        return False
    return bool(LAST_WORD.search(upper) or ANYWHERE.search(upper))


def is_credential_name(name: str) -> bool:
    """Return whether an SDK or a gateway reads credentials from, or by, a variable of this name."""
    return name.upper() in POINTERS or is_secret_name(name)


def may_be_secret(value: str) -> bool:
    """Return whether a value may be a credential: it is not short, and no number, such as a count of tokens."""
    return len(value) >= SHORTEST and not value.isdecimal()


def is_credential(name: str, value: str) -> bool:
    """Return whether a variable contains, or leads to, a credential."""
    return name.upper() in POINTERS or (is_secret_name(name) and may_be_secret(value))


def removed_variables(
    inherited: Mapping[str, str], *, configured: Collection[str], secrets: Iterable[str], keep: Collection[str] = ()
) -> Removed:
    """Return the `inherited` variables that a program must not get, in addition to those in `configured`.

    `configured` are the names that the configuration refers to, `secrets` the values of all of its references. `keep`
    are known names to pass on. A variable that contains a configured secret is never passed on.
    """
    held = parts_of(secrets)
    known = [
        name
        for name, value in inherited.items()
        if name not in configured
        and name not in keep
        and is_credential(name, value)
        and not contains_any(value, held)  # such a one cannot be kept
    ]
    named = [name for name in (*known, *configured) if name in inherited and name.upper() not in POINTERS]
    passed_on = {inherited.get(name) for name in keep}
    values = {inherited[name] for name in named} - passed_on
    compared = held | parts_of(value for value in values if not is_ours(value))
    secret = [
        name
        for name, value in inherited.items()
        if name not in configured and name not in known and contains_any(value, compared)
    ]
    return Removed(tuple(secret), tuple(known))


def is_ours(value: str) -> bool:
    """Return whether a value is one that Wirekey sets for programs."""
    return value == PLACEHOLDER or value.startswith(("wk_", "WKEY"))


def parts_of(values: Iterable[str]) -> frozenset[str]:
    """Return the values, and the parts of those that are lists."""
    found = {value.strip() for value in values}
    found |= {part for value in found for part in split(value) if len(part) >= LONG}
    return frozenset(found - {""})


def split(value: str) -> list[str]:
    """Return the parts of a value that is a list, without quotes."""
    return [part.strip("'\"") for part in SEPARATORS.split(value) if part.strip("'\"")]


def contains_any(value: str, secrets: Iterable[str]) -> bool:
    """Return whether a value is one of `secrets`, or contains one."""
    parts = {value.strip(), *split(value)}
    return any(secret in parts or (len(secret) >= LONG and secret in value) for secret in secrets)
