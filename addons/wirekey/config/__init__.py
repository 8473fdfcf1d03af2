"""The configuration: `wirekey.yaml`, `.env` beside it, and the environment. Read and checked as a whole."""

from wirekey.config.addresses import HostPort, UpstreamURL
from wirekey.config.file_access import FileAccess, file_access
from wirekey.config.loading import load, references, secret_problems
from wirekey.config.log import LogConfig
from wirekey.config.models import Config
from wirekey.config.operator_functions import function_problems
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.provider_hosts import provider_hosts, usual_hosts
from wirekey.config.proxy_in_use import configured_proxy, environment_proxy, proxies_in_use
from wirekey.config.route_checks import route_warnings
from wirekey.config.secrets import SecretRef, resolve

__all__ = [
    "Config",
    "ConfigError",
    "FileAccess",
    "HostPort",
    "LogConfig",
    "Problem",
    "SecretRef",
    "UpstreamURL",
    "configured_proxy",
    "environment_proxy",
    "file_access",
    "function_problems",
    "load",
    "provider_hosts",
    "proxies_in_use",
    "references",
    "resolve",
    "route_warnings",
    "secret_problems",
    "usual_hosts",
]
