"""The options of mitmproxy that Wirekey depends on. They are set at the start, and other values are refused.

The token of mitmweb's page lets its holder set options and run commands in the process that has the keys. So both are
lists of what is allowed: an option of `CHANGEABLE` may change while Wirekey runs, and a command of `ALLOWED_COMMANDS`
exists. All other options keep their value of the start, such as `save_stream_file` and `hardump`. These two may be set
there: a flow contains neither keys nor content (see core/calls/redaction.py), and so neither does what is made of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions
from mitmproxy.command import Command

from wirekey.core.calls.kept_responses import KEEP_RESPONSES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


ALTERED = "requests and responses must not be changed after Wirekey has checked them"
UNDECIDED = "calls to provider hosts must not bypass Wirekey's decision"
ONE_PLACE = "credentials are added in one place only"
PUBLIC_KEY = "it signs with a CA whose key is public"
LISTENERS_FIXED = "the listeners are fixed at the start"
FIXED = "it is fixed at the start"


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
    "onboarding": only(False, "its page would respond in place of a provider"),
    "onboarding_host": only("mitm.it", "its page would respond in place of a provider"),
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
"""Options that may not change once Wirekey has started, with the reason that is given."""

OURS = {"confdir": "certs", "ssl_verify_upstream_trusted_ca": "upstream_ca_file"}
"""Options that Wirekey sets itself → the setting of wirekey.yaml to use instead."""

FORBIDDEN_ENVIRONMENT = ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE")

CHANGEABLE = frozenset(
    {
        # Which flows are shown, held or marked, and how.
        "view_filter", "view_order", "view_order_reversed", "show_ignored_hosts", "showhost", "web_columns",
        "intercept", "intercept_active", "content_view_lines_cutoff",
        # In a terminal.
        "flow_detail", "dumper_filter", "dumper_default_contentview", "console_focus_follow", "console_layout",
        "console_layout_headers", "console_palette", "console_palette_transparent", "console_mouse",
        "console_default_contentview", "console_eventlog_verbosity", "console_flowlist_layout",
        "console_strip_trailing_newlines",
    }
)  # fmt: skip
"""Options that may change while Wirekey runs. None of them names a file or a host, or changes what is sent."""

ALLOWED_COMMANDS = frozenset(
    {
        # They return what a flow shows, or change what is shown of it.
        "export", "export.formats", "eventstore.clear", "flow.comment", "flow.mark", "flow.mark.toggle",
        "view.clear", "view.clear_unmarked", "view.filter.set", "view.flows.duplicate", "view.flows.remove",
        "view.flows.resolve", "view.focus.go", "view.focus.next", "view.focus.prev", "view.order",
        "view.order.options", "view.order.reverse", "view.order.set", "view.properties.inbounds",
        "view.properties.length", "view.properties.marked", "view.properties.marked.toggle", "view.settings.getval",
        "view.settings.setval", "view.settings.setval.toggle",
        # They end the hold of a call that `intercept` holds.
        "flow.kill", "flow.resume", "flow.revert",
        # mitmproxy itself asks these.
        "proxyserver.active_connections", "readfile.reading", "replay.client.count", "replay.server.count",
        # The changed options are checked.
        "set", "options.reset", "options.reset.one",
    }
)  # fmt: skip
"""The commands of mitmproxy that exist. None of them writes or reads a file, starts a program, or makes a flow a call.

`cut` is not among them: it returns any attribute that can be reached from a flow, and so the tap of a response.
"""
CONSOLE_COMMANDS = "console."
"""The beginning of the names of commands that exist only in mitmproxy's terminal, for the person who started it."""


class AllowedCommands(dict[str, Command]):
    """The commands of mitmproxy that may exist. Others are not added, whichever addon brings them, and whenever."""

    def __setitem__(self, name: str, command: Command) -> None:
        if name in ALLOWED_COMMANDS or name.startswith(CONSOLE_COMMANDS):
            super().__setitem__(name, command)


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
    allow_commands()


def allow_commands() -> None:
    """Remove the commands that are not allowed, now and whenever an addon brings one."""
    allowed = AllowedCommands()
    for name, command in ctx.master.commands.commands.items():
        allowed[name] = command
    ctx.master.commands.commands = allowed


def fixed_at_start() -> dict[str, Any]:
    """Return the values of the options that must not change once Wirekey has read them, while mitmproxy starts."""
    return {name: getattr(ctx.options, name) for name in FIXED_OPTIONS if name in ctx.options}


def fixed() -> dict[str, Any]:
    """Return the values of all options that must not change while Wirekey runs."""
    return {name: getattr(ctx.options, name) for name in ctx.options.keys() if name not in CHANGEABLE}  # noqa: SIM118  # no mapping


def check(updated: Collection[str], fixed: Mapping[str, Any]) -> None:
    """Raise OptionsError if a changed option has a value that is not allowed. mitmproxy then reverts the change.

    `fixed` is the result of `fixed_at_start()` or `fixed()`.
    """
    for name in updated:
        if name in REQUIRED and getattr(ctx.options, name) not in REQUIRED[name].values:
            raise refused(name, REQUIRED[name].reason)
        if name in fixed and getattr(ctx.options, name) != fixed[name]:
            raise refused(name, FIXED_OPTIONS.get(name, FIXED))


def refused(name: str, reason: str) -> exceptions.OptionsError:
    """Return the error for a value that is not allowed."""
    # Without the value, which may be a secret (proxyauth, upstream_auth).
    return exceptions.OptionsError(f"Wirekey refuses this value of {name}: {reason}.")
