"""The root certificates that upstream certificates are verified against."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from wirekey import config as configuration
from wirekey.core.identity import private_file

if TYPE_CHECKING:
    from wirekey.config import Config

FILE = "upstream-roots.pem"


def write_upstream_roots(config: Config, state: Path, simulator_ca: Path | None = None) -> Path:
    """Write the public roots, the configured CA and that of the simulator into one file of the state folder.

    Returns the path of the file. Raises ConfigError if the configured CA cannot be read, OSError.
    """
    files = [Path(certifi.where())]
    if config.upstream_ca_file:
        files.append(config.upstream_ca_file)
    if simulator_ca:
        files.append(simulator_ca)
    bundle = state / FILE
    private_file.replace(bundle, b"\n".join(file.read_bytes() for file in files))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
    except ssl.SSLError as error:
        message = f"{config.upstream_ca_file} contains a certificate that cannot be read. Name a PEM file of a CA"
        raise configuration.ConfigError(
            [configuration.Problem(config.source, None, "upstream_ca_file", message)]
        ) from error
    return bundle
