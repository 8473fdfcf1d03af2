"""References to secrets: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`.

The configuration has references only, never a secret.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE_FORMS = "env:NAME, file:PATH or keyring:SERVICE/NAME"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY_STARTS = ("sk-", "sk_", "AIza", "AQ.", "AKIA", "ASIA", "ABSK", "gsk_", "xai-", "wk_", "ghp_", "eyJ", "Bearer ")
LONG_RUN = re.compile(r"[A-Za-z0-9+/=_.~-]{24,}")
LARGEST_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret. `kind` is env, file or keyring. `name` is the text after the colon."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, value: Any) -> SecretRef:
        """Return the reference in a text. Raises ValueError without the text, which may be a secret."""
        if isinstance(value, SecretRef):
            return value
        if not isinstance(value, str):
            raise ValueError(f"must be a reference to a secret: {REFERENCE_FORMS}")  # noqa: TRY004  # pydantic collects these
        kind, colon, name = value.strip().partition(":")
        if not colon or kind not in ("env", "file", "keyring"):
            if looks_like_key(value):
                raise ValueError(
                    "looks like a secret. Secrets do not belong in this file. Put it in the environment or .env and "
                    "write env:NAME here, or use file:PATH or keyring:SERVICE/NAME. If the file was shared, replace "
                    "the secret at its provider"
                )
            raise ValueError(f"must be a reference to a secret: {REFERENCE_FORMS}")
        if kind == "env" and (not VARIABLE.fullmatch(name) or looks_like_key(name)):
            raise ValueError("env: needs the name of an environment variable, such as env:OPENAI_API_KEY")
        if kind == "file" and not name:
            raise ValueError("file: needs a path, such as file:/run/secrets/openai")
        if kind == "keyring" and not all(name.partition("/")):
            raise ValueError("keyring: needs SERVICE/NAME, such as keyring:wirekey/openai")
        return cls(kind, name)


def looks_like_key(value: str) -> bool:
    """Return whether a text is probably a secret and not a name, so that messages can leave it out."""
    text = value.strip()
    if text.startswith(KEY_STARTS):
        return True
    return any(any(c.isdigit() for c in run) and any(c.isalpha() for c in run) for run in LONG_RUN.findall(text))


def resolve(ref: SecretRef, environ: Mapping[str, str], folder: Path) -> Secret:
    """Return the secret. Relative `file:` paths start at `folder`. Raises ValueError with the fix."""
    if ref.kind == "env":
        value = environ.get(ref.name, "")
        if not value.strip():
            raise ValueError(
                f"the environment variable {ref.name} is not set. Export it, or put {ref.name}=… in the .env file "
                "beside the configuration"
            )
    elif ref.kind == "file":
        value = read_file(folder / Path(ref.name).expanduser())
    else:
        value = read_keyring(ref.name)
    try:
        return Secret(value.strip())
    except ValueError as error:
        raise ValueError(f"the value of {ref} cannot be used: {error}") from None


def split_keys(secret: Secret) -> list[Secret]:
    """Return the keys of a variable, which may have several with commas between them."""
    return [Secret(key.strip()) for key in secret.reveal().split(",") if key.strip()] or [secret]


def read_file(path: Path) -> str:
    """Return the text of a file with one secret. Raises ValueError with the fix."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ValueError(f"the file {path} does not exist. Create it with the secret as its only line") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{path} is larger than 64 KiB, so it is not a secret")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file") from None


def read_keyring(name: str) -> str:
    """Return the password of SERVICE/NAME in the system's keyring. Raises ValueError with the fix."""
    service, _, user = name.partition("/")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise ValueError(
            "the Python package keyring is needed for keyring: references. Install it: "
            ".venv/bin/python -m pip install keyring"
        ) from None
    try:
        value = keyring.get_password(service, user)
    except Exception as error:
        raise ValueError(f"the keyring refused {name}: {type(error).__name__}") from None
    if not value:
        raise ValueError(f"the keyring has no {name}. Store it: keyring set {service} {user}")
    return str(value)
