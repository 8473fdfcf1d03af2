"""Warnings about settings, logged when Wirekey starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.config.terms import terms_of_features
from wirekey.feature_registry import parts
from wirekey.server import listeners
from wirekey.server.feature_parts import Notices

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey.config import Config
    from wirekey.core.ca.authority import Authority
    from wirekey.feature import FeatureValues

logger = logging.getLogger(__name__)


def warn_of_settings(config: Config, opened: FeatureValues) -> None:
    """Log a warning for each setting whose effects may not be expected."""
    listeners.warn_if_reachable(config)
    listeners.warn_if_open(config)
    for line in terms_of_features(config):
        logger.warning("%s", line)
    for notices in parts(Notices):
        for line in notices.warnings(opened):
            logger.warning("%s", line)


def warn_of_uncovered_hosts(authority: Authority, hosts: Collection[str]) -> None:
    """Log a warning for each host that the CA may not issue certificates for."""
    for host in authority.covers(list(hosts)):
        logger.warning(
            "The CA does not cover %s, so clients do not trust Wirekey's certificate for it. Run `wirekey ca "
            "renew`, make the clients trust the new root, and restart Wirekey.",
            host,
        )
