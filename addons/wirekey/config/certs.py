"""The settings of the CA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, ValueFormat, absolute_path

FILE = "file:"


def key_file(value: Any, info: ValidationInfo) -> str:
    """Return `file:PATH` with an absolute path. Raises ValueError without the value, which may be a key."""
    if isinstance(value, str) and value.startswith(FILE) and value != FILE and value.isprintable():
        return f"{FILE}{absolute_path(Path(value.removeprefix(FILE)), info)}"
    raise ValueError("must be file:PATH, such as file:/run/secrets/ca.pem")


KeyFile = Annotated[str, PlainValidator(key_file), ValueFormat("file:PATH")]


class CertsConfig(ConfigGroup):
    """The setting `certs`: the CA. A single path stands for `folder`."""

    folder: AbsolutePath = Field(default=Path("certs"), description="Folder of the CA's files.")
    key: KeyFile | None = Field(
        default=None,
        description="File with the working CA and its key, for machines that share one CA: a copy of "
        "`mitmproxy-ca.pem`, such as a mounted secret. The files in `folder` are made from it at each start. null: "
        "Wirekey makes a CA in `folder`.",
        examples=["file:ca.pem"],
    )

    @property
    def key_file(self) -> Path | None:
        """The file of `key`."""
        return Path(self.key.removeprefix(FILE)) if self.key else None


def as_group(value: Any) -> Any:
    """Return a single path as the group of settings that it stands for.

    The default as a group too, so that its folder starts at the one of the configuration.
    """
    if isinstance(value, CertsConfig):
        return value.model_dump(exclude_unset=True)
    return {"folder": value} if isinstance(value, str | Path) else value


CertsSetting = Annotated[CertsConfig, BeforeValidator(as_group), ValueFormat("path")]
