"""wirekey doctor: check clients, keys, ports, clock and upstreams, and print how to fix what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import ssl
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from wirekey.cli.environment import NODE_HOOK, client_environment
from wirekey.cli.options import with_config
from wirekey.cli.program_environment import inherited_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.cli.config_checks import Finding
    from wirekey.config import Config
    from wirekey.core.ca.authority import Authority

AREAS = ("ca", "keys", "routes", "policy", "files", "state", "ports", "upstreams", "clients")


@click.command("doctor")
@with_config
@click.option("--only", type=click.Choice(AREAS), multiple=True, help="Check only this area. Repeatable.")
@click.option("--offline", is_flag=True, help="Do not contact the upstreams, and do not check the clock.")
@click.option("--timeout", type=float, default=5.0, show_default=True, help="Seconds to wait for an upstream.")
@click.option("--json", "as_json_object", is_flag=True, help="Print a JSON object.")
def command(config: Config, only: tuple[str, ...], timeout: float, *, offline: bool, as_json_object: bool) -> None:
    """Check this machine's clients, the keys, ports, clock and upstreams, and print fixes.

    Each installed client runtime (Python, Node, curl, Java, Go, the AWS CLI, git) makes one call with the variables
    that `exec` sets, to a stub on this machine that forwards nothing. The exit code is 1 if something is wrong.
    """
    from wirekey.features.doctor.findings import as_json, exit_code, report

    areas = set(only or AREAS) - ({"upstreams"} if offline else set())
    findings = [finding for area in AREAS if area in areas for finding in CHECKS[area](config, timeout)]
    click.echo(json.dumps(as_json(findings), indent=2) if as_json_object else report(findings))
    sys.exit(exit_code(findings))


def ca_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check the CA."""
    from wirekey.config import provider_hosts
    from wirekey.core.ca.authority import KEY_FILE, CAError, load
    from wirekey.features.doctor.checks import check_ca
    from wirekey.server.runtime import FILE, RunningProxy

    key, running = config.certs.folder / KEY_FILE, config.state / FILE
    try:
        authority: Authority | CAError = load(config.certs.folder)
    except CAError as error:
        authority = error
    serving = RunningProxy.read(config.state) is not None
    yield from check_ca(
        authority,
        list(provider_hosts(config)),
        datetime.now(UTC),
        exists=key.exists(),
        is_newer_than_proxy=serving and key.exists() and key.stat().st_mtime > running.stat().st_mtime,
    )


def routes_findings(config: Config, _: float) -> Iterator[Finding]:
    """Return what the features find in the routes."""
    from wirekey.cli.config_checks import ConfigChecks
    from wirekey.feature_registry import parts

    for part in parts(ConfigChecks):
        yield from part.findings(config)


def policy_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check that the policy can be loaded."""
    from wirekey.core.policy.deciding_server import server_url
    from wirekey.core.policy.modules import PolicyError, read_modules
    from wirekey.core.policy.samples import SAMPLES
    from wirekey.core.policy.worker import PolicyWorker
    from wirekey.features.doctor.checks import check_policy

    policy = config.effective_policy
    if url := server_url(policy):
        yield check_policy(f"the OPA server {urlsplit(url).hostname}", None, [])
        return
    revision, problems = None, []
    try:
        modules = read_modules(policy.path)
        PolicyWorker(modules, policy.query, SAMPLES, policy.timeout).end()
        revision = modules.revision
    except PolicyError as error:
        problems = [str(problem) for problem in error.problems]
    yield check_policy(str(policy.path), revision, problems)


def keys_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check the keys of each provider."""
    from wirekey.config import ConfigError
    from wirekey.features.doctor.checks import check_keys
    from wirekey.server.runtime import RunningProxy

    running = RunningProxy.read(config.state)
    simulated = running.simulated if running else not (config.has_file or config.has_any_key)
    names = config.providers.names
    not_needed = ""
    if simulated:
        not_needed = "the simulator handles its calls"
    elif any(is_used(config, name) for name in names):
        not_needed = "its calls fail with 503"
    for name in names:
        keys, problems = [], []
        try:
            keys = config.resolve_keys(name)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
        settings = config.providers.of(name)
        custom, source = config.providers.setting(name) if settings.family else "", settings.other_source
        yield check_keys(name, len(keys), problems, not_needed=not_needed, other_source=source, custom_setting=custom)


def is_used(config: Config, provider: str) -> bool:
    """Return whether a provider has credentials."""
    settings = config.providers.of(provider)
    return bool(settings.keys or settings.other_source)


def state_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check the state folder."""
    from wirekey.features.doctor.checks import check_state
    from wirekey.features.doctor.connectivity import writing_trouble
    from wirekey.server.state_folder import read_warning, write_troubles

    trouble = writing_trouble(config.state)
    open_to_others = [] if trouble else list(write_troubles(config.state))
    yield check_state(str(config.state), trouble, open_to_others, "" if trouble else read_warning(config.state))


def files_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check who can access the files of the configuration."""
    from wirekey.config import file_access
    from wirekey.features.doctor.checks import check_files

    access = file_access(config)
    yield from check_files([str(problem) for problem in access.refused], [str(problem) for problem in access.warnings])


def ports_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check the listeners of the proxy and the gateway."""
    from wirekey.cli.config_checks import Level
    from wirekey.features.doctor.checks import check_port
    from wirekey.features.doctor.connectivity import listening_trouble, reaching_trouble
    from wirekey.server.runtime import RunningProxy

    if running := RunningProxy.read(config.state):
        yield check_port("listen.forward", running.forward, reaching_trouble(running.host, running.port), serving=True)
        if running.gateway:
            yield from gateway_findings(config, running.gateway)
        return
    for name in ("forward", "gateway"):
        if place := getattr(config.listen, name):
            trouble = listening_trouble(place.host, place.port)
            found = check_port(f"listen.{name}", str(place), trouble, serving=False)
            # If the gateway's default port is taken, Wirekey runs without it.
            is_optional = name == "gateway" and "gateway" not in config.listen.model_fields_set
            yield replace(found, level=Level.WARNING) if trouble and is_optional else found


def gateway_findings(config: Config, place: str) -> Iterator[Finding]:
    """Check the running gateway, with and without TLS."""
    from wirekey.core.ca.authority import CAError, load
    from wirekey.core.ca.certificates import LOOPBACK
    from wirekey.features.doctor.checks import check_gateway_tls, check_port
    from wirekey.features.doctor.connectivity import health_trouble
    from wirekey.server.runtime import on_this_machine

    host, port = on_this_machine(place)
    yield check_port("listen.gateway", place, health_trouble(host, port, None), serving=True)
    if config.listen.gateway_tls:
        # Only the operator knows who trusts its certificate, and under which name.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        yield check_gateway_tls(place, health_trouble(host, port, context), own=False)
    elif host in LOOPBACK:
        try:
            authority = load(config.certs.folder)
        except CAError:
            return  # a finding about the CA
        context = ssl.create_default_context(cafile=authority.root_file)
        trouble = health_trouble(host, port, context) if authority.covers_gateway else None
        yield check_gateway_tls(place, trouble, own=True)


def upstreams_findings(config: Config, timeout: float) -> Iterator[Finding]:
    """Check the upstreams, and the clock against theirs."""
    from concurrent.futures import ThreadPoolExecutor

    import certifi

    from wirekey.features.doctor.checks import check_clock, check_upstream
    from wirekey.features.doctor.connectivity import ask_upstream

    context = ssl.create_default_context(cafile=certifi.where())
    if config.upstream_ca_file:
        context.load_verify_locations(config.upstream_ca_file)
    places = upstream_places(config)
    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        results = list(pool.map(lambda place: ask_upstream(place[1], place[2], context, timeout), places))
    offsets = {}
    for (provider, host, port), (trouble, offset) in zip(places, results, strict=True):
        yield check_upstream(provider, f"{host}:{port}", trouble, used=is_used(config, provider))
        if offset is not None:
            offsets[host] = offset
    yield check_clock(offsets)


def upstream_places(config: Config) -> list[tuple[str, str, int]]:
    """Return (provider, host, port) of each upstream once."""
    from wirekey.config import usual_hosts

    places = []
    for host, provider in usual_hosts(config).items():
        url = config.providers.of(provider).upstream_url
        parts = urlsplit(str(url) if url else f"https://{host}")
        places.append((provider, parts.hostname or host, parts.port or 443))
    return list(dict.fromkeys(places))


def clients_findings(config: Config, _: float) -> Iterator[Finding]:
    """Check the installed client runtimes."""
    from wirekey.config import usual_hosts
    from wirekey.core.identity.aws_pairs import key_pair
    from wirekey.core.secret import Secret
    from wirekey.features.doctor.probing import Prober, installed_runtimes

    hosts = {provider: host for host, provider in reversed(usual_hosts(config).items())}
    inherited = inherited_environment(config, os.environ, ()).variables

    with usable_authority(config) as authority:

        def environment(port: int, agent: str, token: str) -> dict[str, str]:
            return inherited | client_environment(
                host="127.0.0.1",
                port=port,
                agent=agent,
                token=token,
                certs=authority.folder.absolute(),
                region=config.providers.bedrock.regions[0],
                pair=key_pair(Secret(secrets.token_hex(32)), agent, "", 1),
                inherited=os.environ,
                node_hook=NODE_HOOK,
            )

        yield from Prober(authority, hosts, environment).findings(installed_runtimes())


@contextlib.contextmanager
def usable_authority(config: Config) -> Iterator[Authority]:
    """Yield the CA, or a temporary one if the CA cannot be used."""
    from wirekey.config import provider_hosts
    from wirekey.core.ca.authority import CAError, ensure, load

    hosts = list(provider_hosts(config))
    with tempfile.TemporaryDirectory() as folder:
        try:
            authority = load(config.certs.folder)
            whole = not authority.covers(hosts) and authority.bundle_file.exists()
        except CAError:
            whole = False
        yield authority if whole else ensure(Path(folder), hosts)


CHECKS = {
    "ca": ca_findings,
    "keys": keys_findings,
    "routes": routes_findings,
    "policy": policy_findings,
    "files": files_findings,
    "state": state_findings,
    "ports": ports_findings,
    "upstreams": upstreams_findings,
    "clients": clients_findings,
}
