"""The configuration: `wirekey.yaml`, `.env` beside it, and the environment, read whole and checked whole."""

from wirekey.config.loading import load
from wirekey.config.models import Config, provider_hosts
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import SecretRef, resolve
from wirekey.config.values import HostPort, UpstreamURL

__all__ = [
    "Config",
    "ConfigError",
    "HostPort",
    "Problem",
    "SecretRef",
    "UpstreamURL",
    "load",
    "provider_hosts",
    "resolve",
]
