"""wirekey doctor: look at clients, keys, ports, clock and upstreams, and say how to mend what is wrong."""

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

from wirekey.cli.environment import client_environment
from wirekey.cli.options import with_config
from wirekey.cli.program_environment import inherited_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.ca.authority import Authority
    from wirekey.config import Config
    from wirekey.doctor.findings import Finding

AREAS = ("ca", "keys", "files", "state", "ports", "upstreams", "clients")


@click.command("doctor")
@with_config
@click.option("--only", type=click.Choice(AREAS), multiple=True, help="Look at this only; may be given several times.")
@click.option("--offline", is_flag=True, help="Do not ask the upstreams, nor compare clocks with them.")
@click.option("--timeout", type=float, default=5.0, show_default=True, help="Seconds to wait for an upstream.")
@click.option("--json", "as_json_object", is_flag=True, help="Print a JSON object.")
def command(config: Config, only: tuple[str, ...], timeout: float, *, offline: bool, as_json_object: bool) -> None:
    """Check this machine's clients, the keys, ports, clock and upstreams, and say the fix.

    Each client runtime that is found (Python, Node, curl, Java, Go, the AWS CLI, git) makes one call with the variables
    that `exec` sets, to a stand-in on this machine: nothing of it is sent on. Exit code 1 when something is wrong.
    """
    from wirekey.doctor.findings import as_json, exit_code, report

    areas = set(only or AREAS) - ({"upstreams"} if offline else set())
    findings = [finding for area in AREAS if area in areas for finding in LOOKS[area](config, timeout)]
    click.echo(json.dumps(as_json(findings), indent=2) if as_json_object else report(findings))
    sys.exit(exit_code(findings))


def look_at_ca(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.ca.authority import KEY_FILE, CAError, load
    from wirekey.config import provider_hosts
    from wirekey.doctor.checks import judge_ca
    from wirekey.server.runtime import FILE, RunningProxy

    key, running = config.certs / KEY_FILE, config.state / FILE
    try:
        authority: Authority | CAError = load(config.certs)
    except CAError as error:
        authority = error
    serving = RunningProxy.read(config.state) is not None
    yield from judge_ca(
        authority,
        list(provider_hosts(config)),
        datetime.now(UTC),
        made=key.exists(),
        proxy_has_former=serving and key.exists() and key.stat().st_mtime > running.stat().st_mtime,
    )


def look_at_keys(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.config import ConfigError
    from wirekey.doctor.checks import judge_keys
    from wirekey.server.runtime import RunningProxy

    running = RunningProxy.read(config.state)
    simulated = running.simulated if running else not (config.explicit or config.has_any_key)
    names = list(type(config.providers).model_fields)
    instead = ""
    if simulated:
        instead = "the simulator stands in"
    elif any(is_used(config, name) for name in names):
        instead = "its calls are answered 503"
    for name in names:
        keys, problems = [], []
        try:
            keys = config.resolve_keys(name)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
        yield judge_keys(name, len(keys), problems, instead=instead, other_way=other_way(config, name))


def other_way(config: Config, provider: str) -> str:
    """Say how a provider's credentials are had without keys of ours, where they are."""
    settings = getattr(config.providers, provider)
    if settings.key_source != "inject":
        return "the clients bring their own"
    if provider == "bedrock" and settings.aws and not settings.keys:
        return "AWS credentials are configured"
    return ""


def is_used(config: Config, provider: str) -> bool:
    return bool(getattr(config.providers, provider).keys or other_way(config, provider))


def look_at_state(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.doctor.checks import judge_state
    from wirekey.doctor.connectivity import writing_trouble
    from wirekey.server.state_folder import read_warning, write_troubles

    trouble = writing_trouble(config.state)
    open_to_others = [] if trouble else list(write_troubles(config.state))
    yield judge_state(str(config.state), trouble, open_to_others, "" if trouble else read_warning(config.state))


def look_at_files(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.config import file_access
    from wirekey.doctor.checks import judge_files

    access = file_access(config)
    yield from judge_files([str(problem) for problem in access.refused], [str(problem) for problem in access.warnings])


def look_at_ports(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.doctor.checks import judge_port
    from wirekey.doctor.connectivity import listening_trouble, reaching_trouble
    from wirekey.doctor.findings import Level
    from wirekey.server.runtime import RunningProxy

    if running := RunningProxy.read(config.state):
        yield judge_port("listen.forward", running.forward, reaching_trouble(running.host, running.port), serving=True)
        if running.gateway:
            yield from look_at_gateway(config, running.gateway)
        return
    for name in ("forward", "gateway"):
        if place := getattr(config.listen, name):
            trouble = listening_trouble(place.host, place.port)
            found = judge_port(f"listen.{name}", str(place), trouble, serving=False)
            # Without the gateway's default port Wirekey runs all the same.
            dispensable = name == "gateway" and "gateway" not in config.listen.model_fields_set
            yield replace(found, level=Level.WARNING) if trouble and dispensable else found


def look_at_gateway(config: Config, place: str) -> Iterator[Finding]:
    from wirekey.ca.authority import CAError, load
    from wirekey.ca.certificates import LOOPBACK
    from wirekey.doctor.checks import judge_gateway_tls, judge_port
    from wirekey.doctor.connectivity import health_trouble
    from wirekey.server.runtime import on_this_machine

    host, port = on_this_machine(place)
    yield judge_port("listen.gateway", place, health_trouble(host, port, None), serving=True)
    if config.listen.gateway_tls:
        # Who trusts its certificate, and by which name, only the operator knows.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        yield judge_gateway_tls(place, health_trouble(host, port, context), own=False)
    elif host in LOOPBACK:
        try:
            authority = load(config.certs)
        except CAError:
            return  # judged with the CA
        context = ssl.create_default_context(cafile=authority.root_file)
        trouble = health_trouble(host, port, context) if authority.covers_gateway else None
        yield judge_gateway_tls(place, trouble, own=True)


def look_at_upstreams(config: Config, timeout: float) -> Iterator[Finding]:
    from concurrent.futures import ThreadPoolExecutor

    import certifi

    from wirekey.doctor.checks import judge_clock, judge_upstream
    from wirekey.doctor.connectivity import ask_upstream

    context = ssl.create_default_context(cafile=certifi.where())
    if config.upstream_ca_file:
        context.load_verify_locations(config.upstream_ca_file)
    places = upstream_places(config)
    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        answers = list(pool.map(lambda place: ask_upstream(place[1], place[2], context, timeout), places))
    offsets = {}
    for (provider, host, port), (trouble, offset) in zip(places, answers, strict=True):
        yield judge_upstream(provider, f"{host}:{port}", trouble, used=is_used(config, provider))
        if offset is not None:
            offsets[host] = offset
    yield judge_clock(offsets)


def upstream_places(config: Config) -> list[tuple[str, str, int]]:
    """Give (provider, host, port) of what is dialled, each once."""
    from wirekey.config import usual_hosts

    places = []
    for host, provider in usual_hosts(config).items():
        url = getattr(config.providers, provider).upstream_url
        parts = urlsplit(str(url) if url else f"https://{host}")
        places.append((provider, parts.hostname or host, parts.port or 443))
    return list(dict.fromkeys(places))


def look_at_clients(config: Config, _: float) -> Iterator[Finding]:
    from wirekey.config import usual_hosts
    from wirekey.doctor.probing import Prober, installed_runtimes
    from wirekey.identity.aws_pairs import key_pair
    from wirekey.secret import Secret

    hosts = {provider: host for host, provider in reversed(usual_hosts(config).items())}
    inherited = inherited_environment(config, os.environ, ()).rest

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
                node_hook=Path(__file__).with_name("node_proxy.cjs"),
            )

        yield from Prober(authority, hosts, environment).findings(installed_runtimes())


@contextlib.contextmanager
def usable_authority(config: Config) -> Iterator[Authority]:
    """Give the CA, or one for the moment where there is none that can be used: clients are looked at all the same."""
    from wirekey.ca.authority import CAError, ensure, load
    from wirekey.config import provider_hosts

    hosts = list(provider_hosts(config))
    with tempfile.TemporaryDirectory() as folder:
        try:
            authority = load(config.certs)
            whole = not authority.covers(hosts) and authority.bundle_file.exists()
        except CAError:
            whole = False
        yield authority if whole else ensure(Path(folder), hosts)


LOOKS = {
    "ca": look_at_ca,
    "keys": look_at_keys,
    "files": look_at_files,
    "state": look_at_state,
    "ports": look_at_ports,
    "upstreams": look_at_upstreams,
    "clients": look_at_clients,
}
