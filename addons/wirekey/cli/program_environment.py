"""The environment of a program that uses Wirekey: the inherited one without credentials, and what Wirekey sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from wirekey.cli.credential_variables import Removed, is_credential, is_ours, removed_variables
from wirekey.cli.environment import OTHER_PROXIES
from wirekey.cli.passthrough import own_keys
from wirekey.feature_registry import parts
from wirekey.server.database_server import DatabaseServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.config import Config

keep_option = click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="Pass on a variable with the name of a credential. Repeatable. Secrets of the configuration are "
    "never passed on.",
)


@dataclass(frozen=True, slots=True)
class Inherited:
    """The environment that a program inherits: `variables`, and in `kept` the names of those kept by `--keep`."""

    variables: dict[str, str]
    kept: frozenset[str]
    left_out: tuple[str, ...]
    """Names of variables that a program must not have, whether or not they are set here."""
    notice: str
    """A message about removed variables that a user may miss, or an empty string."""

    def with_variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the program. `variables` take precedence, except over those that `--keep` names."""
        return {**self.variables, **{name: value for name, value in variables.items() if name not in self.kept}}

    def to_unset(self, variables: Mapping[str, str]) -> list[str]:
        """Return the names that a shell must unset, as `variables` do not replace them."""
        return [name for name in self.left_out if name not in variables]


def inherited_environment(config: Config, environ: Mapping[str, str], keep: Sequence[str]) -> Inherited:
    """Remove all credentials from `environ`, except a program's own keys where Wirekey passes them through.

    Raises UsageError if `keep` names a secret of the configuration.
    """
    configured = configured_names(config)
    own = [name for name in own_keys(config, environ) if name not in configured]
    removed = removed_variables(environ, configured=configured, secrets=configured_secrets(config), keep=(*keep, *own))
    if ours := [name for name in keep if name in configured or name in removed.secret]:
        raise click.UsageError(
            f"--keep {ours[0]}: this variable contains a secret of Wirekey's configuration. Programs must not have it."
        )
    proxies = [name for name in OTHER_PROXIES if name in environ]
    left_out = (*sorted(configured), *removed.secret, *removed.known, *proxies)
    variables = {name: value for name, value in environ.items() if name not in left_out}
    return Inherited(variables, frozenset((*keep, *own)) & variables.keys(), left_out, notice_of(removed, environ))


def configured_names(config: Config) -> set[str]:
    """Return the names of the variables that the configuration reads secrets from."""
    from wirekey.config import references

    names = {reference.name for _, reference in references(config) if reference.kind == "env"}
    return names.union(*(part.secret_variables(config) for part in parts(DatabaseServer)))


def configured_secrets(config: Config) -> set[str]:
    """Return the secrets that the configuration refers to, as far as they can be read here, and the keys of `.env`."""
    from wirekey.config import Problem, references

    found = [config.resolve(reference, key) for key, reference in references(config)]
    names = configured_names(config)
    in_file = {value for name, value in config.dotenv.items() if name in names or is_credential(name, value)}
    return {secret.reveal() for secret in found if not isinstance(secret, Problem)} | in_file


def notice_of(removed: Removed, environ: Mapping[str, str]) -> str:
    """Return a message about the removed variables that a user may miss, or an empty string."""
    theirs = [name for name in removed.known if environ[name] and not is_ours(environ[name])]
    sentences = []
    if removed.secret:
        contents = "they contain secrets" if len(removed.secret) > 1 else "it contains a secret"
        sentences.append(f"{', '.join(removed.secret)} not passed on: {contents} of Wirekey's configuration.")
    if theirs:
        sentences.append(
            f"{', '.join(theirs)} not passed on, as credentials have such names. To pass one on: --keep NAME."
        )
    return "\n".join(f"wirekey: {sentence}" for sentence in sentences)
