"""The environment in which a program finds the proxy, or the gateway, and starts without a provider key."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.cli.credential_variables import PLACEHOLDER
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from wirekey.core.identity.aws_pairs import KeyPair

KEY_VARIABLES = tuple(name for provider in PROVIDERS.values() for name in provider.credentials.variables.keys)
"""The variables from which programs read the key of a provider."""
CODEX_KEY = "CODEX_API_KEY"
"""The key of Codex, which reads no base URL from a variable. Without one, it sends its key to chatgpt.com, too.
So it gets the agent's token only if its arguments name the gateway."""
GEMINI_CLI_SETTINGS = Path(__file__).with_name("gemini_cli_settings.json")
"""Defaults for Gemini CLI. With a base URL it does not conclude from its variables that it has an API key."""
NODE_HOOK = Path(__file__).with_name("node_proxy.cjs")
"""Makes Node send its requests through the proxy of its environment."""
OTHER_PROXIES = ("ALL_PROXY", "all_proxy")
"""Variables that would make a program use another proxy."""
BUNDLE_VARIABLES = {
    "SSL_CERT_FILE": "Python, Go, Ruby, OpenSSL",
    "REQUESTS_CA_BUNDLE": "Python requests",
    "CURL_CA_BUNDLE": "curl",
    "AWS_CA_BUNDLE": "boto3 and the AWS CLI",
    "GIT_SSL_CAINFO": "git",
    "HTTPLIB2_CA_CERTS": "Python httplib2",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "gRPC",
    "DENO_CERT": "Deno",
}
NEVER_PROXIED = "localhost,127.0.0.1,::1"
BASE_URLS = {name: path for each in PROVIDERS.values() for name, path in each.credentials.variables.base_urls.items()}
"""The variables with the base URL of a provider → the path of the gateway in it."""
OPENCODE_CONFIG = "OPENCODE_CONFIG_CONTENT"
"""Settings that opencode adds to its own. It reads the base URL of Google's models only from there."""
OWN_SETTINGS = {"MSWEA_CONFIGURED": "true"}
"""Without it, the first start of mini-swe-agent asks for an API key."""


def client_environment(
    *,
    host: str,
    port: int,
    agent: str,
    token: str,
    certs: Path,
    region: str,
    pair: KeyPair | None,
    inherited: Mapping[str, str],
    node_hook: Path | None = None,
) -> dict[str, str]:
    """Return the variables to set for a program that uses the proxy at `host` and `port`.

    There are two files with roots: Node adds our root to its own, and other runtimes replace theirs with the bundle.
    AWS SDKs sign with `pair`, which Wirekey issued to the agent and AWS does not know. Without one, they sign with a
    placeholder, and the proxy identifies the agent by its token.
    """
    address = f"[{host}]" if ":" in host else host
    proxy = f"http://{quote(agent, safe='')}:{token}@{address}:{port}"
    bundle = str(certs / "bundle.pem")
    variables = {"HTTPS_PROXY": proxy, "https_proxy": proxy}
    variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), NEVER_PROXIED)
    variables |= dict.fromkeys(BUNDLE_VARIABLES, bundle)
    variables |= dict.fromkeys(KEY_VARIABLES, PLACEHOLDER)
    variables |= OWN_SETTINGS
    variables["NODE_EXTRA_CA_CERTS"] = str(certs / "mitmproxy-ca-cert.pem")
    variables["NODE_USE_ENV_PROXY"] = "1"
    variables |= signing_variables(pair, region, inherited)
    if node_hook:
        options = inherited.get("NODE_OPTIONS", "")
        variables["NODE_OPTIONS"] = f"{options} --require {quoted_for_node(str(node_hook))}".strip()
    java = (
        f"-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} "
        f"-Djavax.net.ssl.trustStore={quoted_for_java(str(certs / 'truststore.p12'))} "
        "-Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit"
    )
    variables["JAVA_TOOL_OPTIONS"] = f"{inherited.get('JAVA_TOOL_OPTIONS', '')} {java}".strip()
    return variables


def gateway_environment(
    address: str, *, token: str, region: str, pair: KeyPair | None, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that make SDKs call the gateway at `address`, HOST:PORT, without those of the proxy.

    The gateway, and the hosts of an `inherited` NO_PROXY, are not called through the proxy.
    """
    variables = {name: f"http://{address}{path}" for name, path in BASE_URLS.items()}
    variables |= dict.fromkeys(KEY_VARIABLES, token)
    variables[CODEX_KEY] = PLACEHOLDER
    if pair is None:  # then AWS SDKs must not sign
        variables |= {each.credentials.setting: token for each in PROVIDERS.values() if each.credentials.uses_aws}
    if not inherited.get(OPENCODE_CONFIG):
        variables[OPENCODE_CONFIG] = opencode_config(address)
    variables["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"] = str(trusted_copy(GEMINI_CLI_SETTINGS, inherited))
    never = (inherited.get("NO_PROXY") or inherited.get("no_proxy"), NEVER_PROXIED, address.rpartition(":")[0])
    variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(listed_once(never)))
    return variables | signing_variables(pair, region, inherited)


def opencode_config(address: str) -> str:
    """Return the settings that make opencode call Google's models at the gateway at `address`, HOST:PORT."""
    return json.dumps({"provider": {"google": {"options": {"baseURL": f"http://{address}/v1beta"}}}})


def trusted_copy(file: Path, inherited: Mapping[str, str]) -> Path:
    """Return a file in a folder that only its owner can change, as Gemini CLI demands: the file itself, or a copy.

    The copy is in the cache folder of the user.
    """
    if not any(folder.stat().st_mode & 0o022 for folder in file.parents):
        return file
    cache = inherited.get("XDG_CACHE_HOME") or Path(inherited.get("HOME") or Path.home()) / ".cache"
    copy = Path(cache) / "wirekey" / file.name
    content = file.read_bytes()
    with contextlib.suppress(OSError):  # the program runs without the defaults, and says what it misses
        if not copy.exists() or copy.read_bytes() != content:
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = copy.with_name(f".{copy.name}.{os.getpid()}")
            partial.write_bytes(content)
            partial.replace(copy)
    return copy


def confined(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a program that may reach no other hosts: plain HTTP uses the proxy, too."""
    proxy = variables["HTTPS_PROXY"]
    return {**variables, "HTTP_PROXY": proxy, "http_proxy": proxy}


def without_hosts(names: str | None, hosts: Collection[str]) -> str:
    """Return a NO_PROXY list without the entries that match one of `hosts`, which must not bypass the proxy."""
    entries = [name.strip() for name in (names or "").split(",")]
    return ",".join(entry for entry in entries if entry and not any(covers(entry, host) for host in hosts))


def covers(entry: str, host: str) -> bool:
    """Return whether an entry of NO_PROXY matches `host` in any of the ways in which programs read it."""
    bare = entry.lower().partition(":")[0].lstrip("*").strip(".")
    return not bare or bare == host or host.endswith(f".{bare}") or (entry.startswith("*") and host.endswith(bare))


def listed_once(lists: Iterable[str | None]) -> list[str]:
    """Return the names of several comma-separated lists, each once."""
    names = (name.strip(" []") for names in lists for name in (names or "").split(","))
    return list(dict.fromkeys(name for name in names if name))


def signing_variables(pair: KeyPair | None, region: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which AWS SDKs sign. An `inherited` region takes precedence over `region`."""
    chosen = inherited.get("AWS_REGION") or region
    return {
        "AWS_ACCESS_KEY_ID": pair.access_key if pair else PLACEHOLDER,
        "AWS_SECRET_ACCESS_KEY": pair.secret.reveal() if pair else PLACEHOLDER,
        "AWS_REGION": chosen,
        "AWS_DEFAULT_REGION": chosen,
    }


def quoted_for_node(path: str) -> str:
    """Quote a path for NODE_OPTIONS. Node splits at spaces, and a backslash in double quotes is an escape."""
    if not any(sign in path for sign in ' "\\'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def quoted_for_java(path: str) -> str:
    """Quote a path for JAVA_TOOL_OPTIONS. Java splits at white space, and has two kinds of quotes but no escape."""
    if not any(sign in path for sign in " \t\"'"):
        return path
    return '"\'"'.join(f"'{part}'" if part else "" for part in path.split("'"))
