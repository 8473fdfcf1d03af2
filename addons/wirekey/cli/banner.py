"""The startup banner: what a new user needs when the proxy listens."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import click

from wirekey.core.command_name import COMMAND

if TYPE_CHECKING:
    from wirekey.server.lifecycle import Lifecycle
    from wirekey.server.runtime import RunningProxy

NOTE_INDENT = " " * len("SIMULATED: ")


def print_startup_banner(lifecycle: Lifecycle) -> None:
    """Print the startup banner."""
    from mitmproxy import ctx

    click.echo(startup_banner(lifecycle, getattr(ctx.master, "web_url", None)))


def startup_banner(lifecycle: Lifecycle, web_url: str | None = None) -> str:
    """Return the startup banner: listeners, providers and their keys, CA, and the next commands."""
    from wirekey.server.audit_store import audit_database

    config = lifecycle.config
    assert config
    assert lifecycle.running_proxy
    assert lifecycle.authority
    lines = [f"Wirekey listens on {lifecycle.running_proxy.forward} (for HTTPS_PROXY)."]
    if web_url:
        lines.append(f"mitmweb shows the flows, without keys and tokens: {web_url}")
    lines += ["", *simulation(lifecycle), *open_access(lifecycle), *notices_of_features(lifecycle)]
    lines += [*provider_lines(lifecycle), *proxy_lines(lifecycle)]
    expires = f"{lifecycle.authority.expires:%Y-%m-%d}"
    lines += [
        "",
        f"  CA         {lifecycle.authority.root_file} (valid for these hosts only, until {expires})",
        f"             SHA-256 {lifecycle.authority.fingerprint}",
        f"  audit      {audit_database(config).place}",
        *endpoint_lines(lifecycle),
        "",
        f"Run a program through Wirekey: {COMMAND} exec -- python my_program.py",
        f"Create a token for an agent:   {COMMAND} agents add alice",
        f"Show the calls:                {COMMAND} audit tail",
        *next_commands(lifecycle.running_proxy),
    ]
    return "\n".join(lines)


def next_commands(running: RunningProxy) -> list[str]:
    """Return the lines of features with a command for people."""
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import NextCommand

    shown = [part for part in parts(NextCommand) if getattr(running, part.listener)]
    return [f"{f'{part.purpose}:':<30} {COMMAND} {part.command}" for part in shown]


def endpoint_lines(lifecycle: Lifecycle) -> list[str]:
    """Return one line for each listener of Wirekey's own endpoints, with their paths."""
    from wirekey.core.endpoints.routes import HEALTH_PATH, READY_PATH
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import AddedEndpoints

    running = lifecycle.running_proxy
    assert running
    added = [path for part in parts(AddedEndpoints) for path in part.listed(lifecycle.services.opened)]
    paths = ", ".join([HEALTH_PATH, READY_PATH, *added])
    found = []
    if running.console:
        found.append(f"  console    http://{running.console} ({paths})")
    if running.gateway:
        found.append(f"  gateway    http://{running.gateway} (base_url; {paths})")
    return found


def simulation(lifecycle: Lifecycle) -> list[str]:
    """Return lines that report that the simulator handles all calls, and why. Empty if it does not."""
    if not lifecycle.services.settings.simulated:
        return []
    from wirekey.config.loading import KEY_VARIABLES

    if lifecycle.simulator_wanted:
        return [
            "SIMULATED: --simulator was given, so the embedded simulator handles all calls, and no key is used.",
            "           Start without it to reach the real providers.",
            "",
        ]
    *others, last = (variables[0] for variables in KEY_VARIABLES.values())
    fix = f"To reach the real providers, set {', '.join(others)} or {last} and restart."
    return [
        "SIMULATED: there is no provider key and no wirekey.yaml, so the embedded simulator handles all calls.",
        *wrap(fix, width=100, initial_indent=NOTE_INDENT, subsequent_indent=NOTE_INDENT),
        "",
    ]


def open_access(lifecycle: Lifecycle) -> list[str]:
    """Return lines that report that calls need no agent. Empty if they need one."""
    if lifecycle.services.settings.identity_required:
        return []
    return [
        "EVERYBODY MAY CALL: identity.required is false. Every program that reaches a listener uses the provider keys.",
        "",
    ]


def proxy_lines(lifecycle: Lifecycle) -> list[str]:
    """Return lines about the proxy on the way out, and about one of the environment that is not used."""
    from wirekey.config import environment_proxy

    assert lifecycle.config
    settings, config = lifecycle.services.settings, lifecycle.config
    named = environment_proxy(config, config.environ)
    lines = []
    if settings.proxies.usual:
        source = "upstream_proxy" if config.upstream_proxy else named.variable
        lines.append(f"  proxy      {settings.proxies.usual.authority} on the way out ({source})")
    elif named.ignored and not settings.simulated:
        lines.append(f"  proxy      {named.variable} is not used: {named.ignored}")
    lines += [
        f"  proxy      {proxy.authority} on the way to {host}" for host, proxy in settings.proxies.by_host.items()
    ]
    return lines


def notices_of_features(lifecycle: Lifecycle) -> list[str]:
    """Return the lines of features, such as one that reports that prompts and responses are logged."""
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import Notices

    return [line for notices in parts(Notices) for line in notices.banner(lifecycle.services.opened)]


def provider_lines(lifecycle: Lifecycle) -> list[str]:
    """Return one line for each provider: its keys or the missing setting, and its usual hosts."""
    from wirekey.config import usual_hosts
    from wirekey.providers.registry import PROVIDERS

    assert lifecycle.config
    settings = lifecycle.services.settings
    rows = []
    for name, pool in settings.pools.items():
        count = len(pool.keys)
        other = not settings.simulated and not count and lifecycle.config.providers.of(name).other_source
        keys = "simulated" if settings.simulated else f"{count} key{'s' * (count != 1)}" if count else "no key"
        hosts = ", ".join(host for host, provider in usual_hosts(lifecycle.config).items() if provider == name)
        upstream = settings.upstreams.get(name)
        if upstream and not settings.simulated:
            hosts += f" (at {upstream.authority})"
        missing = (
            "" if count else f"; {other}" if other else f"; set {PROVIDERS[name].credentials.setting or 'its keys'}"
        )
        rows.append(f"  {name:<10} {keys:<10} {hosts}{missing}")
    return rows
