"""The options of mitmproxy that Wirekey depends on. They are set at the start, and other values are refused.

`save_stream_file`, `hardump`, `flow_detail` and `intercept` are not among them: a flow contains neither keys nor
content (see calls/redaction.py), and so neither does what is made of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions

from wirekey.calls.kept_responses import KEEP_RESPONSES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


ALTERED = "requests and responses must not be changed after Wirekey has checked them"
UNDECIDED = "calls to provider hosts must not bypass Wirekey's decision"
ONE_PLACE = "credentials are added in one place only"
PUBLIC_KEY = "it signs with a CA whose key is public"
LISTENERS_FIXED = "the listeners are fixed at the start"


@dataclass(frozen=True, slots=True)
class Rule:
    """The allowed values of an option. If mitmproxy's default is not among them, the first one is set."""

    reason: str
    values: tuple[Any, ...]


def only(value: Any, reason: str) -> Rule:
    """Return a rule that allows one value."""
    return Rule(reason, (value,))


REQUIRED: dict[str, Rule] = {
    "connection_strategy": only("lazy", "Wirekey must not connect to an upstream before a call is decided"),
    "rawtcp": only(False, "bytes that are not HTTP would pass unchecked"),
    "upstream_cert": only(False, "names of other hosts would get into our certificates"),
    "validate_inbound_headers": only(True, "ambiguous requests must be refused"),
    "ssl_insecure": only(False, "a key is only sent over verified TLS"),
    "ssl_verify_upstream_trusted_confdir": only(None, "upstream_ca_file of wirekey.yaml sets which CA is trusted"),
    "ciphers_server": only(None, "a key is only sent over strong TLS"),
    "tls_version_server_min": Rule("a key is only sent over strong TLS", ("TLS1_2", "TLS1_3")),
    "store_streamed_bodies": only(False, "it keeps requests, too; wirekey_keep_responses keeps only responses"),
    "keep_host_header": only(True, "the signature of a request for the gateway covers its host header"),
    "proxy_debug": only(False, "it shows the bytes on the wire, with the keys"),
    "web_debug": only(False, "its error pages show internals of the process"),
    "add_upstream_certs_to_client_chain": only(False, "only our own certificates are shown to clients"),
    "certs": only([], "only our own CA makes certificates"),
    "emudhra": only(False, PUBLIC_KEY),
    "emudhra_old": only(False, PUBLIC_KEY),
    "stream_large_bodies": only(None, "Wirekey reads whole the bodies that it checks, and no others"),
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
    "server_replay": only([], "responses must come from the provider"),
    "client_replay": only([], "a replayed request has no credential"),
}
FIXED_OPTIONS: dict[str, str] = {
    "confdir": "the CA is the one in `certs` of wirekey.yaml",
    "ssl_verify_upstream_trusted_ca": "upstream_ca_file of wirekey.yaml sets which CA is trusted",
    "mode": LISTENERS_FIXED,
    "listen_host": LISTENERS_FIXED,
    "listen_port": LISTENERS_FIXED,
    "server": LISTENERS_FIXED,
    "scripts": "a script that is loaded later would run in the process that has the keys",
    KEEP_RESPONSES: "whether content is kept is fixed at the start",
    "wirekey": "the file is fixed at the start; changes of its content are applied",
}
"""Options that may not change while Wirekey runs."""

OURS = {"confdir": "certs", "ssl_verify_upstream_trusted_ca": "upstream_ca_file"}
"""Options that Wirekey sets itself → the setting of wirekey.yaml to use instead."""

FORBIDDEN_ENVIRONMENT = ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE")
FORBIDDEN_COMMANDS = ("script.run",)
"""Commands of mitmproxy's console and page that would run other code in the process that has the keys."""


def enforce(certs: str | None = None) -> None:
    """Set the required values. Raises OptionsError if the environment or a given option has another value.

    `certs` is the value of `confdir` that is allowed in addition to the default.
    """
    for name in FORBIDDEN_ENVIRONMENT:
        if os.environ.get(name):
            raise exceptions.OptionsError(
                f"{name} is set: the keys of the TLS sessions, and thus the provider keys, would be written to a file. "
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


def fixed() -> dict[str, Any]:
    """Return the current values of the options that must not change while Wirekey runs."""
    return {name: getattr(ctx.options, name) for name in FIXED_OPTIONS if name in ctx.options}


def check(updated: Collection[str], fixed: Mapping[str, Any]) -> None:
    """Raise OptionsError if a changed option has a value that is not allowed. mitmproxy then reverts the change.

    `fixed` is the result of `fixed()`.
    """
    for name in updated:
        if name in REQUIRED and getattr(ctx.options, name) not in REQUIRED[name].values:
            raise refused(name, REQUIRED[name].reason)
        if name in fixed and getattr(ctx.options, name) != fixed[name]:
            raise refused(name, FIXED_OPTIONS[name])


def refused(name: str, reason: str) -> exceptions.OptionsError:
    """Return the error for a value that is not allowed."""
    # Without the value, which may be a secret (proxyauth, upstream_auth).
    return exceptions.OptionsError(f"Wirekey refuses this value of {name}: {reason}.")
