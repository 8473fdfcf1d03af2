"""Programs that have a provider's key, or a login of their own at it: `key_source: passthrough`.

`exec` and `env` pass on that provider's key variables and set none of them. They set no base URL either, because the
gateway would find a key of the provider, and no agent token, in the place of the key. Through the proxy, the program
has its token in the proxy's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.cli.credential_variables import is_ours
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.config import Config
    from wirekey.providers.description import ProviderVariables


def passed_through(config: Config) -> Iterator[ProviderVariables]:
    """Yield the variables of the providers whose key the programs have themselves."""
    found = (
        (name, provider.credentials.variables)
        for name, provider in PROVIDERS.items()
        if provider.credentials.variables.own
    )
    return (variables for name, variables in found if config.providers.of(name).key_source == "passthrough")


def own_keys(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Return the variables of `environ` that contain a program's own key of such a provider."""
    names = (name for variables in passed_through(config) for name in variables.own)
    return [name for name in names if environ.get(name) and not is_ours(environ[name])]


def without_passed_through(config: Config, variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables without the keys and base URLs of such providers."""
    left_out: set[str] = set()
    for provider in passed_through(config):
        left_out |= {*provider.keys, *provider.base_urls, *provider.settings}
    return {name: value for name, value in variables.items() if name not in left_out}
