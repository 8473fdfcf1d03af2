"""Warnings about settings, logged when Wirekey starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.google.code_assist.configured import terms
from wirekey.server import listeners
from wirekey.server.local_programs import warn_of_terms

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey.ca.authority import Authority
    from wirekey.config import Config

logger = logging.getLogger(__name__)

BODIES_LOGGED = (
    "REQUESTS AND RESPONSES ARE LOGGED: log.bodies writes prompts and responses of all agents to %s. Credentials are "
    "masked, other content is not. Remove the setting and restart to stop it."
)


def warn_of_settings(config: Config) -> None:
    """Log a warning for each setting whose effects may not be expected."""
    listeners.warn_if_reachable(config)
    listeners.warn_if_open(config)
    warn_of_terms(config)
    for line in terms(config):
        logger.warning("%s", line)
    if file := config.log.bodies:
        logger.warning(BODIES_LOGGED, file)


def warn_of_uncovered_hosts(authority: Authority, hosts: Collection[str]) -> None:
    """Log a warning for each host that the CA may not issue certificates for."""
    for host in authority.covers(list(hosts)):
        logger.warning(
            "The CA does not cover %s, so clients do not trust Wirekey's certificate for it. Run `wirekey ca "
            "renew`, make the clients trust the new root, and restart Wirekey.",
            host,
        )
