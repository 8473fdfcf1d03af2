"""Checks that a configuration must pass before it is used, at the start and on a reload."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.config import ConfigError, file_access
from wirekey.config.file_identity import changed_files, identities

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.config.file_identity import Identities

logger = logging.getLogger(__name__)


def check_file_access(config: Config) -> None:
    """Raise ConfigError if other users can change a file of the configuration. Log a warning if they can read one."""
    access = file_access(config)
    if access.refused:
        raise ConfigError(access.refused)
    for warning in access.warnings:
        logger.warning("%s", warning)


def check_files(config: Config, at_start: Identities) -> None:
    """Check the files of a changed configuration: who can access them, and whether they are still the operator's.

    `at_start`: the identities of the files when Wirekey started. Raises ConfigError, OSError.
    """
    check_file_access(config)
    if problems := changed_files(at_start, identities(config)):
        raise ConfigError(problems)
