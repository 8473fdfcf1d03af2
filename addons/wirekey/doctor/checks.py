"""From what was seen to what is found: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wirekey.ca.authority import Authority, CAError
    from wirekey.doctor.clients import Client
    from wirekey.doctor.stub import StubRequest

SOON_DAYS = 30
CLOCK_WARNING_SECONDS = 60
CLOCK_WRONG_SECONDS = 300
"""AWS refuses signatures of a clock that is more than five minutes off."""

KEY_SETTINGS = {
    "openai": "OPENAI_API_KEY, or providers.openai.keys",
    "gemini": "GEMINI_API_KEY, or providers.gemini.keys",
    "anthropic": "ANTHROPIC_API_KEY, or providers.anthropic.keys",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK, or providers.bedrock.aws",
}


@dataclass(frozen=True, slots=True)
class Run:
    """How a client's program went. `said` is the last line of what it printed; `ended` is False at a time-out."""

    sighting: StubRequest
    ended: bool = True
    absent: bool = False
    said: str = ""


def judge_client(subject: str, client: Client, run: Run, root: Path) -> Finding:
    """Say of a client, run as `exec` would, whether it comes to the proxy, and believes it."""
    seen, said = run.sighting, f" ({run.said})" if run.said else ""

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("clients", subject, level, message, fix.format(root=root))

    if run.absent:
        return found(Level.SKIPPED, "is not installed")
    if not seen.connected:
        ending = "" if run.ended else f" and did not end within {client.seconds:g} s"
        return found(Level.WRONG, f"does not go through the proxy{ending}{said}", client.proxy_fix)
    if not seen.requested:
        reason = f" ({seen.refused})" if seen.refused else said
        return found(Level.WRONG, f"goes through the proxy, but does not trust the CA{reason}", client.trust_fix)
    if not seen.credentials:
        return found(
            Level.WARNING,
            "trusts the CA and goes through the proxy, but cannot say there which agent it is",
            "make a token with `wirekey agents add NAME` and give it to the program in place of its API key"
            if client.calls_providers
            else "other hosts than the providers' are refused to it: set identity.required to false",
        )
    return found(Level.OK, "trusts the CA and goes through the proxy")


def judge_ca(
    authority: Authority | CAError, hosts: Sequence[str], now: datetime, *, made: bool, proxy_has_former: bool
) -> list[Finding]:
    """Judge the CA. `made`: there is one, be it usable or not. `proxy_has_former`: the proxy that runs has another."""

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("ca", "CA", level, message, fix)

    if isinstance(authority, Exception):
        level = Level.WRONG if made else Level.WARNING
        return [found(level, f"{authority.file}: {authority.problem}", authority.fix)]
    findings = []
    renew = "`wirekey ca renew`, start the proxy anew, and let the clients trust the new root"
    if missing := authority.covers(hosts):
        findings.append(found(Level.WRONG, f"does not cover {', '.join(missing)}", renew))
    days = (authority.expires - now).days
    if days < SOON_DAYS:
        findings.append(found(Level.WARNING, f"expires in {days} day{'s' * (days != 1)}", renew))
    if proxy_has_former:
        findings.append(found(Level.WRONG, "is newer than the proxy that runs", "start the proxy anew"))
    return findings or [found(Level.OK, f"good until {authority.expires:%Y-%m-%d}, covers {len(hosts)} hosts")]


def judge_keys(provider: str, count: int, problems: Sequence[str], *, instead: str, other_way: str = "") -> Finding:
    """Judge the keys of a provider.

    `other_way` says, where there is one, how its credentials are had without keys; `instead`, where another provider
    has some or the simulator stands in, why none are needed here.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("keys", f"{provider} keys", level, message, fix)

    if problems:
        return found(Level.WRONG, "; ".join(problems), "put the secret where the setting says, or change the setting")
    if other_way:
        return found(Level.OK, other_way)
    if count:
        return found(Level.OK, f"{count} key{'s' * (count != 1)}")
    fix = f"set {KEY_SETTINGS[provider]}"
    if instead:
        return found(Level.SKIPPED, f"none: {instead}", fix)
    return found(Level.WARNING, "none, and no other provider has any: every call is answered 503", fix)


def judge_port(setting: str, place: str, trouble: str, *, serving: bool) -> Finding:
    """Judge a listener. `trouble` is why it cannot be listened on, or, while the proxy is `serving`, reached."""
    if not trouble:
        return Finding("ports", setting, Level.OK, f"{place} {'answers' if serving else 'is free'}")
    fix = (
        "see the proxy's log, or start it anew"
        if serving
        else f"end what listens there, or set {setting} to another port"
    )
    return Finding("ports", setting, Level.WRONG, f"{place}: {trouble}", fix)


def judge_gateway_tls(place: str, trouble: str | None, *, own: bool) -> Finding:
    """Judge TLS at the gateway, with a certificate of our `own` CA or with that of listen.gateway_tls.

    `trouble` None: our CA may not speak for the gateway, so it was not tried.
    """

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("ports", "gateway TLS", level, message, fix)

    if trouble is None:
        fix = "where programs call https://localhost: `wirekey ca renew`, and let the clients trust the new root"
        return found(Level.SKIPPED, "the CA does not cover localhost", fix)
    if trouble:
        return found(Level.WRONG, f"https://{place}: {trouble}", "start the proxy anew, or see its log")
    shown = "a certificate of our CA" if own else "the certificate of listen.gateway_tls"
    return found(Level.OK, f"https://{place} answers with {shown}")


def judge_upstream(provider: str, place: str, trouble: str, *, used: bool) -> Finding:
    """Judge whether an upstream is reached; one that is not `used`, for want of a key, need not be."""
    subject = f"{provider} upstream"
    if not trouble:
        return Finding("upstreams", subject, Level.OK, f"{place} answers")
    if "certificate" in trouble.lower():
        fix = "set upstream_ca_file to the PEM file of the CA that signed it, if you trust that one"
    else:
        fix = f"let this machine reach {place} directly, or set providers.{provider}.upstream_url"
    return Finding("upstreams", subject, Level.WRONG if used else Level.SKIPPED, f"{place}: {trouble}", fix)


def judge_clock(offsets: Mapping[str, float]) -> Finding:
    """Judge the clock by how many seconds it is ahead of each upstream's; the middle one counts."""
    if not offsets:
        return Finding("clock", "clock", Level.SKIPPED, "no upstream to compare it with")
    host, offset = sorted(offsets.items(), key=lambda item: item[1])[len(offsets) // 2]
    size = abs(offset)
    if size < CLOCK_WARNING_SECONDS:
        return Finding("clock", "clock", Level.OK, f"agrees with {host}")
    level = Level.WRONG if size > CLOCK_WRONG_SECONDS else Level.WARNING
    message = f"is {size:.0f} s {'ahead of' if offset > 0 else 'behind'} that of {host}"
    return Finding("clock", "clock", level, message, "let this machine set its clock by NTP: AWS allows five minutes")


def judge_state(place: str, trouble: str, open_to_others: Sequence[str] = (), read_warning: str = "") -> Finding:
    """Judge the state folder. `open_to_others`: what other users may change there, in sentences that say the fix."""

    def found(level: Level, message: str, fix: str = "") -> Finding:
        return Finding("state", "state folder", level, message, fix)

    if trouble:
        return found(Level.WRONG, f"{place}: {trouble}", "let the user that runs Wirekey write there, or set `state`")
    if open_to_others:
        return found(
            Level.WRONG, " ".join(open_to_others), f"do what is said, and check the agents: they are in {place}"
        )
    if read_warning:
        return found(Level.WARNING, read_warning, "or start Wirekey, which does it")
    return found(Level.OK, f"{place} can be written")


def judge_files(refused: Sequence[str], warnings: Sequence[str]) -> list[Finding]:
    """Judge who may change or read the files of the configuration. Each sentence has its fix in it."""
    found = [Finding("files", "files", Level.WRONG, sentence) for sentence in refused]
    found += [Finding("files", "files", Level.WARNING, sentence) for sentence in warnings]
    return found or [Finding("files", "files", Level.OK, "no other user may change or read them")]
