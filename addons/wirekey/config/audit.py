"""The setting `audit`: where calls are recorded, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AuditURL, CheckpointFile, Retention, retention_seconds


class AuditConfig(ConfigGroup):
    """The setting `audit`: where calls are recorded."""

    store: AuditURL | None = Field(
        default=None,
        description="Database of the audit log. null: `audit.db` in the `state` folder. A URL of PostgreSQL needs the "
        "extra `postgresql`. One with a password comes from `env:NAME` or `file:PATH`.",
        examples=["postgresql://wirekey@db.corp.example/wirekey"],
    )
    durability: Literal["commit", "fsync"] = Field(
        default="commit",
        description="How an event is written before its call is sent. commit: it survives the end of the process. "
        "fsync: it also survives a power failure. In PostgreSQL, both survive it, and fsync also waits for synchronous "
        "standbys.",
    )
    checkpoints: CheckpointFile | None = Field(
        default=None,
        description="File to which each signed checkpoint of the audit log's hash chain is added, for `audit verify`. "
        "Keep it where Wirekey may add to it but not change it. null: only the database and the log have them.",
        examples=["file:/var/log/wirekey/checkpoints.jsonl"],
    )
    retention: Retention | None = Field(
        default=None,
        description="Age after which events are deleted. null: none are deleted.",
        examples=["400d"],
    )

    @property
    def checkpoints_file(self) -> Path | None:
        """The file of `checkpoints`."""
        return Path(self.checkpoints.removeprefix("file:")) if self.checkpoints else None

    @property
    def retention_seconds(self) -> int | None:
        """The seconds of `retention`."""
        return retention_seconds(self.retention) if self.retention else None
