"""Turns observations into findings with a level and a fix. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.cli.config_checks import Finding, Level
from wirekey.core.command_name import COMMAND
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wirekey.core.ca.authority import Authority, CAError
    from wirekey.features.doctor.clients import Client
    from wirekey.features.doctor.stub import StubRequest

SOON_DAYS = 30
CLOCK_WARNING_SECONDS = 60
CLOCK_WRONG_SECONDS = 300
"""AWS refuses signatures if the clock is off by more than five minutes."""


@dataclass(frozen=True, slots=True)
class ClientRun:
    """The result of running a client's program against the stub proxy.

    `observed` is what arrived at the stub, `output` the most telling line that the program printed. `ended` is False if
    the program timed out, `absent` is True if it or a part of it is not installed.
    """

    observed: StubRequest
    ended: bool = True
    absent: bool = False
    output: str = ""


def check_client(subject: str, client: Client, run: ClientRun, root: Path) -> Finding:
    """Check whether a client that was run as `exec` does uses the proxy, trusts the CA and sends its token.

    `root` is the file of the CA's root certificate, for the fix.
    """
    seen, output = run.observed, f" ({run.output})" if run.output else ""

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("clients", subject, level, message, fix.format(root=root))

    if run.absent:
        return found(Level.SKIPPED, "is not installed")
    if not seen.connected:
        ending = "" if run.ended else f" and did not end within {client.seconds:g} s"
        return found(Level.WRONG, f"does not use the proxy{ending}{output}", client.proxy_fix)
    if not seen.requested:
        reason = f" ({seen.refused})" if seen.refused else output
        return found(Level.WRONG, f"uses the proxy, but does not trust the CA{reason}", client.trust_fix)
    if not seen.credentials:
        return found(
            Level.WARNING,
            "uses the proxy and trusts the CA, but does not send the agent's token to the proxy",
            f"create a token with `{COMMAND} agents add NAME` and set it in place of the program's API key"
            if client.calls_providers
            else "to allow it hosts other than the providers', set identity.required to false",
        )
    return found(Level.OK, "uses the proxy and trusts the CA")


def check_ca(
    authority: Authority | CAError, hosts: Sequence[str], now: datetime, *, exists: bool, is_newer_than_proxy: bool
) -> list[Finding]:
    """Check that the CA is usable, covers `hosts`, does not expire soon, and is the one that the running proxy uses.

    `exists`: there is a CA, even if it is not usable.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("ca", "CA", level, message, fix)

    if isinstance(authority, Exception):
        level = Level.WRONG if exists else Level.WARNING
        return [found(level, f"{authority.file}: {authority.problem}", authority.fix)]
    findings = []
    renew = f"run `{COMMAND} ca renew`, restart the proxy, and make the clients trust the new root"
    if missing := authority.covers(hosts):
        findings.append(found(Level.WRONG, f"does not cover {', '.join(missing)}", renew))
    days = (authority.expires - now).days
    if days < SOON_DAYS:
        findings.append(found(Level.WARNING, f"expires in {days} day{'s' * (days != 1)}", renew))
    if is_newer_than_proxy:
        findings.append(found(Level.WRONG, "is newer than the running proxy", "restart the proxy"))
    return findings or [found(Level.OK, f"valid until {authority.expires:%Y-%m-%d}, covers {len(hosts)} hosts")]


def check_policy(place: str, revision: str | None, problems: Sequence[str]) -> Finding:
    """Check that the policy can be loaded. `revision` is None if it cannot be, or if another server has it."""
    if problems:
        fix = f"correct it, and run `{COMMAND} policy check`. Until then the previous policy decides, if any"
        return Finding("policy", "policy", Level.WRONG, f"{place}: {'; '.join(problems)}", fix)
    if revision is None:
        return Finding("policy", "policy", Level.SKIPPED, f"{place} has it")
    return Finding("policy", "policy", Level.OK, f"{place} can be loaded, revision {revision}")


def check_keys(
    provider: str,
    count: int,
    problems: Sequence[str],
    *,
    not_needed: str,
    other_source: str = "",
    custom_setting: str = "",
) -> Finding:
    """Check that a provider has keys, and that all of them can be read.

    `other_source` is the source of its credentials without keys, `not_needed` the reason why it needs no keys. Each is
    empty if it does not apply. `custom_setting` is the setting of a custom provider, such as `providers.custom[0]`.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("keys", f"{provider} keys", level, message, fix)

    if problems:
        return found(Level.WRONG, "; ".join(problems), "put the secret where the setting points, or change the setting")
    if other_source:
        return found(Level.OK, other_source)
    if count:
        return found(Level.OK, f"{count} key{'s' * (count != 1)}")
    if custom_setting:
        fix = f"set {custom_setting}.keys"
    else:
        setting = f"providers.{provider}.{'aws' if PROVIDERS[provider].credentials.uses_aws else 'keys'}"
        fix = f"set {PROVIDERS[provider].credentials.setting}, or {setting}"
    if not_needed:
        return found(Level.SKIPPED, f"none: {not_needed}", fix)
    return found(Level.WARNING, "none, and no other provider has any. All calls fail with 503", fix)


def check_port(setting: str, place: str, trouble: str, *, serving: bool) -> Finding:
    """Check a listener.

    `trouble` is why the port is not available or, if the proxy is `serving`, why it cannot be reached.
    """
    if not trouble:
        return Finding("ports", setting, Level.OK, f"{place} {'responds' if serving else 'is free'}")
    fix = (
        "see the log of the proxy, or restart it"
        if serving
        else f"stop the program that listens there, or set {setting} to another port"
    )
    return Finding("ports", setting, Level.WRONG, f"{place}: {trouble}", fix)


def check_gateway_tls(place: str, trouble: str | None, *, own: bool) -> Finding:
    """Check TLS at the gateway, with a certificate of Wirekey's `own` CA or that of listen.gateway_tls.

    `trouble` is why it failed, empty if it worked, and None if it was not tried because the CA does not cover it.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("ports", "gateway TLS", level, message, fix)

    if trouble is None:
        fix = f"if programs call https://localhost, run `{COMMAND} ca renew` and make the clients trust the new root"
        return found(Level.SKIPPED, "the CA does not cover localhost", fix)
    if trouble:
        return found(Level.WRONG, f"https://{place}: {trouble}", "restart the proxy, or see its log")
    shown = "a certificate of Wirekey's CA" if own else "the certificate of listen.gateway_tls"
    return found(Level.OK, f"https://{place} responds with {shown}")


def check_upstream(provider: str, place: str, trouble: str, *, used: bool) -> Finding:
    """Check that an upstream can be reached. `used` is False if the provider has no key; then it may be unreachable."""
    subject = f"{provider} upstream"
    if not trouble:
        return Finding("upstreams", subject, Level.OK, f"{place} responds")
    if "certificate" in trouble.lower():
        fix = "if you trust the CA that signed it, set upstream_ca_file to the PEM file of that CA"
    else:
        fix = f"allow this machine to connect to {place}, or set providers.{provider}.upstream_url"
    return Finding("upstreams", subject, Level.WRONG if used else Level.SKIPPED, f"{place}: {trouble}", fix)


def check_clock(offsets: Mapping[str, float]) -> Finding:
    """Check the clock. `offsets` is host → seconds by which our clock is ahead of the host's. The median counts."""
    if not offsets:
        return Finding("clock", "clock", Level.SKIPPED, "no upstream to compare it with")
    host, offset = sorted(offsets.items(), key=lambda item: item[1])[len(offsets) // 2]
    size = abs(offset)
    if size < CLOCK_WARNING_SECONDS:
        return Finding("clock", "clock", Level.OK, f"agrees with {host}")
    level = Level.WRONG if size > CLOCK_WRONG_SECONDS else Level.WARNING
    message = f"is {size:.0f} s {'ahead of' if offset > 0 else 'behind'} that of {host}"
    return Finding(
        "clock",
        "clock",
        level,
        message,
        "set the clock of this machine by NTP: AWS allows a difference of five minutes",
    )


def check_state(place: str, trouble: str, open_to_others: Sequence[str] = (), read_warning: str = "") -> Finding:
    """Check the state folder.

    `trouble` is why it cannot be written. `open_to_others` are messages, with a fix, about what other users can change
    there, `read_warning` is one about what they can read.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("state", "state folder", level, message, fix)

    if trouble:
        return found(
            Level.WRONG, f"{place}: {trouble}", "allow the user that runs Wirekey to write there, or set `state`"
        )
    if open_to_others:
        return found(
            Level.WRONG, " ".join(open_to_others), f"then check the agents in {place}: others may have changed them"
        )
    if read_warning:
        return found(Level.WARNING, read_warning, "or start Wirekey, which sets the mode")
    return found(Level.OK, f"{place} can be written")


def check_files(refused: Sequence[str], warnings: Sequence[str]) -> list[Finding]:
    """Check who can change or read the files of the configuration. Each message contains its fix."""
    found = [Finding("files", "files", Level.WRONG, message) for message in refused]
    found += [Finding("files", "files", Level.WARNING, message) for message in warnings]
    return found or [Finding("files", "files", Level.OK, "no other user can change or read them")]
