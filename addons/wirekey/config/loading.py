"""Loads the configuration from its file, `.env` and the environment, and reports all problems at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wirekey.config.dotenv import parse_dotenv
from wirekey.config.environment import with_environment
from wirekey.config.feature_settings import AddedSettings, whole_config
from wirekey.config.group import ConfigGroup, settings_of
from wirekey.config.messages import problems_from_pydantic
from wirekey.config.prices import PriceFile
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.route_checks import route_conflicts
from wirekey.config.secrets import SecretRef
from wirekey.config.sources import ConfigSources, watched_files
from wirekey.config.yaml_file import read_yaml
from wirekey.core.model_name import register_prefixes
from wirekey.feature_registry import parts
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.config.models import Config

DEFAULT_FILE = "wirekey.yaml"
LARGEST_FILE = 1024 * 1024
KEY_VARIABLES = {name: found for name, each in PROVIDERS.items() if (found := each.credentials.variables.usual)}
"""Provider → the variables from which it has a key if the configuration has none."""
PLACEHOLDER = "wirekey-holds-the-key"
"""The value that `wirekey env` sets instead of keys. In such a shell, Wirekey must not use it as a key."""


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of `path`, else of `wirekey.yaml` in the current folder, else the defaults.

    `env:` references are looked up in `environ` first, then in `.env` beside the file. Keys that are not configured
    come from the providers' usual variables. Secrets are not read here. Raises ConfigError with all problems.
    """
    wanted = path if path is not None else Path(DEFAULT_FILE)
    folder = wanted.absolute().parent
    text = read_text(wanted, optional=path is None)
    dotenv, problems = read_dotenv(folder / ".env")
    sources = ConfigSources(
        file=None if text is None else wanted,
        folder=folder,
        environ={**dotenv, **{name: value for name, value in environ.items() if value or name not in dotenv}},
        dotenv=dotenv,
    )
    document = read_yaml(text or "", wanted)
    sources = replace(sources, lines=document.lines)
    data, set_by, wrong = with_environment(document.data, sources.environ, whole_config())
    data, from_environ = with_default_keys(data, sources.environ)
    sources = replace(sources, from_environ=from_environ | set_by)
    problems += [*document.problems, *wrong]
    # The names of providers may stand in front of models, which are checked with the rest.
    register_prefixes(name for part in parts(AddedSettings) for name in part.provider_names(data))
    try:
        config = whole_config().model_validate(data, context={"folder": folder})
    except ValidationError as error:
        problems += problems_from_pydantic(error.errors(include_url=False), whole_config(), sources)
    else:
        problems += file_problems(config, sources)
        problems += read_price_file(config, sources)
        problems += route_conflicts(config, sources)
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (str(problem.file), problem.line or 0)))
    files = [reference.name for _, reference in references(config) if reference.kind == "file"]
    if config.prices.file:
        files.append(str(config.prices.file))
    config._sources = replace(sources, watched=watched_files(wanted.absolute(), folder, files))  # noqa: SLF001
    return config


def read_text(path: Path, *, optional: bool = False) -> str | None:
    """Return the text of a small file; None if it is `optional` and absent. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) <= LARGEST_FILE:
            return content.decode("utf-8-sig")
        message = "is larger than 1 MiB, so it is not a configuration. Name another file"
    except FileNotFoundError:
        if optional:
            return None
        message = "does not exist. Create it, or name another file with --config"
    except UnicodeDecodeError:
        message = "is not a text file in UTF-8. Save it as UTF-8"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    raise ConfigError([Problem(path, None, "", message)])


def read_price_file(config: Config, sources: ConfigSources) -> list[Problem]:
    """Read `prices.file` into the configuration. Return the problems of the file, each with its line there."""
    path = config.prices.file
    if path is None:
        return []
    try:
        document = read_yaml(read_text(path, optional=False) or "", path)
        read = PriceFile.model_validate(document.data)
    except ConfigError as error:
        absent = not path.exists()
        return [sources.problem("prices.file", f"{path} does not exist. Create it")] if absent else error.problems
    except ValidationError as error:
        within = ConfigSources(file=path, folder=sources.folder, lines=document.lines)
        return problems_from_pydantic(error.errors(include_url=False), PriceFile, within)
    config._prices_in_file = read.models  # noqa: SLF001
    return document.problems


def read_dotenv(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Return the entries of `.env` and its problems. An absent file has no entries."""
    try:
        text = read_text(path, optional=True)
    except ConfigError as error:
        return {}, error.problems
    return parse_dotenv(text or "", path)


def with_default_keys(data: Any, environ: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """Add references to the usual variables where the file says nothing about a provider's keys.

    Gives the data and, for each setting added, the variable.
    """
    if not isinstance(data, dict) or not isinstance(data.get("providers", {}), dict | None):
        return data, {}
    providers = dict(data.get("providers") or {})
    added = {}
    for name, variables in KEY_VARIABLES.items():
        setting = providers.get(name)
        found = next((v for v in variables if environ.get(v, "").strip() not in ("", PLACEHOLDER)), None)
        if found is None or not isinstance(setting, dict | None):
            continue
        setting = dict(setting or {})
        if setting.get("key_source", "inject") != "inject" or "keys" in setting or setting.get("aws") is not None:
            continue
        if PROVIDERS[name].credentials.uses_aws:
            setting["aws"] = {"bearer": f"env:{found}"}
            added[f"providers.{name}.aws.bearer"] = found
        else:
            setting["keys"] = [f"env:{found}"]
            added[f"providers.{name}.keys"] = found
        providers[name] = setting
    return {**data, "providers": providers}, added


def references(value: Any, key: str = "") -> Iterator[tuple[str, SecretRef]]:
    """Yield each reference to a secret in a configuration, with its dotted setting."""
    if isinstance(value, SecretRef):
        yield key, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from references(item, f"{key}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from references(item, f"{key}.{name}")
    elif isinstance(value, ConfigGroup):
        for name, attribute, _ in settings_of(type(value)):
            yield from references(getattr(value, attribute), f"{key}.{name}".lstrip("."))


def file_problems(config: Config, sources: ConfigSources) -> Iterator[Problem]:
    """Yield the problems of the certificate and key files that Wirekey needs when it starts."""
    named = {"upstream_ca_file": config.upstream_ca_file, "certs.key": config.certs.key_file}
    if tls := config.listen.gateway_tls:
        named |= {"listen.gateway_tls.certificate": tls.certificate, "listen.gateway_tls.key": tls.key}
    for key, path in named.items():
        if path is None:
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            yield sources.problem(key, f"{path} cannot be read: {error.strerror}. Name a PEM file that exists")
            continue
        wanted = b"PRIVATE KEY-----" if key.endswith(".key") else b"-----BEGIN CERTIFICATE-----"
        if wanted not in content:
            what = "private key" if key.endswith(".key") else "certificate"
            yield sources.problem(key, f"{path} contains no {what} in PEM form")


def secret_problems(config: Config) -> list[Problem]:
    """Return the problems of all secrets that the configuration refers to. Reads each of them."""
    tried = (config.resolve(reference, key) for key, reference in references(config))
    return [result for result in tried if isinstance(result, Problem)]
