"""mitmproxy's options that the house stands on: set at start, and refused when somebody asks for something else.

`save_stream_file`, `hardump`, `flow_detail` and `intercept` are no part of this: a flow has neither key nor content
(see sealing.py), so what is made of flows has none either.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

KEEP_ANSWERS = "wirekey_keep_answers"
"""Our own option: keep what models answer on the flows, where mitmweb and dumps show it. Off unless asked for."""

ALTERED = "what is judged, sent and answered must not be altered behind Wirekey's back"
UNDECIDED = "provider hosts must not be passed through undecided"
ONE_PLACE = "credentials are put on in one place only"
PUBLIC_KEY = "it signs with a CA whose key is public"


@dataclass(frozen=True, slots=True)
class Rule:
    """`values` are good, the first is set where mitmproxy's own default is not; `reason` ends a sentence."""

    reason: str
    values: tuple[Any, ...]


def only(value: Any, reason: str) -> Rule:
    return Rule(reason, (value,))


REQUIRED: dict[str, Rule] = {
    "connection_strategy": only("lazy", "nothing may be dialled before a call is decided"),
    "rawtcp": only(False, "bytes that are not HTTP would pass unseen"),
    "upstream_cert": only(False, "foreign names would get into our certificates"),
    "validate_inbound_headers": only(True, "a request that can be read in two ways must be refused"),
    "ssl_insecure": only(False, "a key is only sent over verified TLS"),
    "ssl_verify_upstream_trusted_confdir": only(None, "upstream_ca_file of wirekey.yaml says whom to trust"),
    "ciphers_server": only(None, "a key is only sent over strong TLS"),
    "tls_version_server_min": Rule("a key is only sent over strong TLS", ("TLS1_2", "TLS1_3")),
    "store_streamed_bodies": only(False, "it keeps requests, too; wirekey_keep_answers keeps answers"),
    "keep_host_header": only(True, "what a client signed for the gateway must be seen as it signed it"),
    "proxy_debug": only(False, "it shows the bytes on the wire, with the keys"),
    "web_debug": only(False, "its error pages show the inside of the process"),
    "add_upstream_certs_to_client_chain": only(False, "only our own certificates are shown to clients"),
    "certs": only([], "only our own CA makes certificates"),
    "emudhra": only(False, PUBLIC_KEY),
    "emudhra_old": only(False, PUBLIC_KEY),
    "stream_large_bodies": only(None, "bodies that are judged are read whole, others pass unread"),
    "body_size_limit": only(None, "limits.body_bytes of wirekey.yaml is the limit"),
    "ignore_hosts": only([], UNDECIDED),
    "allow_hosts": only([], UNDECIDED),
    "tcp_hosts": only([], UNDECIDED),
    "udp_hosts": only([], UNDECIDED),
    "client_certs": only(None, ONE_PLACE),
    "upstream_auth": only(None, ONE_PLACE),
    "proxyauth": only(None, "it keeps credentials where other addons see them"),
    "stickyauth": only(None, "it copies credentials between calls"),
    "stickycookie": only(None, "it copies credentials between calls"),
    "map_remote": only([], ALTERED),
    "map_local": only([], ALTERED),
    "modify_headers": only([], ALTERED),
    "modify_body": only([], ALTERED),
    "block_list": only([], ALTERED),
    "anticache": only(False, ALTERED),
    "anticomp": only(False, ALTERED),
    "server_replay": only([], "an answer comes from the provider, or it is none"),
    "client_replay": only([], "a replayed request gets no credential"),
}
SETTLED: dict[str, str] = {
    "confdir": "the CA is the one in `certs` of wirekey.yaml",
    "ssl_verify_upstream_trusted_ca": "upstream_ca_file of wirekey.yaml says whom to trust",
    "mode": "the listeners are settled at the start",
    "listen_host": "the listeners are settled at the start",
    "listen_port": "the listeners are settled at the start",
    "server": "the listeners are settled at the start",
    "scripts": "a script loaded later would run inside the process that holds the keys",
    KEEP_ANSWERS: "whether content is kept is settled at the start",
    "wirekey": "the configuration file is settled at the start; a changed file is read anew",
}
"""Options that may not change while Wirekey runs."""

OURS = {"confdir": "certs", "ssl_verify_upstream_trusted_ca": "upstream_ca_file"}
"""Options that the entrance sets itself, by the setting of wirekey.yaml to use instead."""

FORBIDDEN_ENVIRONMENT = ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE")
FORBIDDEN_COMMANDS = ("script.run",)
"""Commands of mitmproxy's console and page that would run foreign code inside the process that holds the keys."""


def enforce(certs: str | None = None) -> None:
    """Set what is required. Raises OptionsError where the environment, or an option that was given, undoes it.

    `certs` is the folder that `confdir` may name already.
    """
    for name in FORBIDDEN_ENVIRONMENT:
        if os.environ.get(name):
            raise exceptions.OptionsError(
                f"{name} is set: it would write down the keys of the TLS sessions, and with them the provider keys. "
                f"Unset {name}."
            )
    for name, setting in OURS.items():
        if getattr(ctx.options, name) not in (ctx.options.default(name), certs):
            raise exceptions.OptionsError(f"Wirekey refuses {name}: set {setting} in wirekey.yaml instead.")
    wanted = {}
    for name, rule in REQUIRED.items():
        if name not in ctx.options:
            continue
        value = getattr(ctx.options, name)
        if value not in rule.values:
            if value != ctx.options.default(name):
                raise refused(name, rule.reason)
            wanted[name] = rule.values[0]
    ctx.options.update(**wanted)
    for command in FORBIDDEN_COMMANDS:
        ctx.master.commands.commands.pop(command, None)


def settled() -> dict[str, Any]:
    """Give the values that may not change from here on."""
    return {name: getattr(ctx.options, name) for name in SETTLED if name in ctx.options}


def check(updated: Collection[str], fixed: Mapping[str, Any]) -> None:
    """Raise OptionsError, which makes mitmproxy take the change back, where a change undoes what is required.

    `fixed` is what `settled` gave.
    """
    for name in updated:
        if name in REQUIRED and getattr(ctx.options, name) not in REQUIRED[name].values:
            raise refused(name, REQUIRED[name].reason)
        if name in fixed and getattr(ctx.options, name) != fixed[name]:
            raise refused(name, SETTLED[name])


def refused(name: str, reason: str) -> exceptions.OptionsError:
    # Without the value, which may be a secret (proxyauth, upstream_auth).
    return exceptions.OptionsError(f"Wirekey refuses this value of {name}: {reason}.")
