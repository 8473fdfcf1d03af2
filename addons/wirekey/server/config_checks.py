"""Checks that a configuration must pass before it is used, at the start and on a reload."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.config import ConfigError, file_access

if TYPE_CHECKING:
    from wirekey.config import Config

logger = logging.getLogger(__name__)


def check_file_access(config: Config) -> None:
    """Raise ConfigError if other users can change a file of the configuration. Log a warning if they can read one."""
    access = file_access(config)
    if access.refused:
        raise ConfigError(access.refused)
    for warning in access.warnings:
        logger.warning("%s", warning)
