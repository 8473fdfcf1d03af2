"""The client runtimes that the doctor knows: how to find them, and the smallest program that makes a call in each.

Each program requests `https://HOST/v1/models` as programs in that runtime usually do, without settings of its own. The
result depends on what arrives at the proxy, not on what the program prints. Exit code 77 means that a library is not
installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wirekey.core.command_name import COMMAND
from wirekey.features.doctor import programs

NOT_INSTALLED = 77
PATH = "/v1/models"


@dataclass(frozen=True, slots=True)
class Client:
    """One way to make a call in a runtime.

    In `arguments`, {host} is replaced by a host of `provider`, {url} by a URL on that host, and {folder} by a temporary
    folder, into which `file`, a pair (name, text), is written. `seconds` is the time limit.
    """

    name: str
    arguments: tuple[str, ...]
    proxy_fix: str
    trust_fix: str
    file: tuple[str, str] | None = None
    provider: str = "openai"
    seconds: float = 30
    calls_providers: bool = True


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program that is searched on PATH by any of its names, and in `elsewhere` (patterns below the home folder).

    `version` are the arguments that make it print its version. If that fails, it is not installed. Two programs that
    print the same are one. `absent` are words in its output that mean that a part of it is not installed.
    """

    names: tuple[str, ...]
    version: tuple[str, ...]
    clients: tuple[Client, ...]
    elsewhere: tuple[str, ...] = ()
    absent: tuple[str, ...] = field(default=())


PYTHON_PROXY = "remove trust_env=False and other proxy settings from the program"
NODE_PROXY = (
    f"keep the --require of `{COMMAND} env` in NODE_OPTIONS. A program with a dispatcher or agent of its own needs "
    "undici's EnvHttpProxyAgent or https-proxy-agent. Node below 18 is not supported: use a newer one"
)
NODE_TRUST = "NODE_EXTRA_CA_CERTS must name the root when Node starts. The program itself cannot set it"

RUNTIMES = (
    Runtime(
        names=("python3", "python"),
        version=("-c", "import platform, sys; print('Python', platform.python_version(), sys.prefix)"),
        clients=(
            Client(
                "ssl",
                ("-c", programs.PYTHON_SSL, "{url}"),
                PYTHON_PROXY,
                "SSL_CERT_FILE must name the bundle. A program with an SSL context of its own must load it",
            ),
            Client(
                "requests",
                ("-c", programs.PYTHON_REQUESTS, "{url}"),
                PYTHON_PROXY,
                "REQUESTS_CA_BUNDLE must name the bundle. `verify` in the program takes precedence",
            ),
            Client(
                "httpx",
                ("-c", programs.PYTHON_HTTPX, "{url}"),
                PYTHON_PROXY,
                "SSL_CERT_FILE must name the bundle. With httpx below 0.28 or trust_env=False, pass verify=",
            ),
        ),
    ),
    Runtime(
        names=("node",),
        elsewhere=(".nvm/versions/node/*/bin/node", ".local/share/fnm/node-versions/*/installation/bin/node"),
        version=("-p", "'Node ' + process.versions.node"),
        clients=(
            Client("fetch", ("-e", programs.NODE_FETCH, "{url}"), NODE_PROXY, NODE_TRUST),
            Client("https", ("-e", programs.NODE_HTTPS, "{url}"), NODE_PROXY, NODE_TRUST),
        ),
    ),
    Runtime(
        names=("curl",),
        version=("--version",),
        clients=(
            Client(
                "",
                ("--silent", "--show-error", "--max-time", "20", "{url}"),
                "`proxy` and `noproxy` in ~/.curlrc override HTTPS_PROXY: remove them",
                "`cacert` in ~/.curlrc overrides CURL_CA_BUNDLE: remove it. For the curl of macOS, add the root to the "
                "keychain",
            ),
        ),
    ),
    Runtime(
        names=("java",),
        version=("--version",),
        absent=("jdk.compiler", "com.sun.tools.javac"),
        clients=(
            Client(
                "",
                ("{folder}/Probe.java", "{url}"),
                f"keep the https.proxyHost of `{COMMAND} env` in JAVA_TOOL_OPTIONS. A client with a proxy setting of "
                "its own, such as the AWS SDK for Java, needs it there",
                f"keep the truststore of `{COMMAND} env` in JAVA_TOOL_OPTIONS, or add the root to that of the JVM: "
                "keytool -importcert -cacerts -file {root}",
                file=("Probe.java", programs.JAVA),
                seconds=90,
            ),
        ),
    ),
    Runtime(
        names=("go",),
        version=("version",),
        clients=(
            Client(
                "",
                ("run", "{folder}/probe.go", "{url}"),
                "an http.Transport of your own needs Proxy: http.ProxyFromEnvironment",
                "SSL_CERT_FILE must name the bundle. On macOS and Windows, add the root to the system's store",
                file=("probe.go", programs.GO),
                seconds=180,
            ),
        ),
    ),
    Runtime(
        names=("aws",),
        version=("--version",),
        absent=("Invalid choice", "invalid choice"),
        clients=(
            Client(
                "",
                # Unsigned, so that it needs no credentials: only its destination matters.
                ("bedrock-runtime", "invoke-model", "--no-sign-request", "--cli-read-timeout", "20",
                 "--model-id", "wirekey.doctor", "--body", "e30=", "{folder}/answer"),
                "`proxies` of the profile in ~/.aws/config override HTTPS_PROXY: remove them",
                "`ca_bundle` of the profile in ~/.aws/config overrides AWS_CA_BUNDLE: remove it",
                provider="bedrock",
                seconds=60,
            ),
        ),
    ),
    Runtime(
        names=("git",),
        version=("--version",),
        clients=(
            Client(
                "",
                ("-c", "credential.helper=", "ls-remote", "https://{host}/wirekey/doctor.git"),
                "git's http.proxy overrides HTTPS_PROXY. Remove it: git config --global --unset http.proxy",
                "remove git's http.sslCAInfo: git config --global --unset http.sslCAInfo",
                calls_providers=False,
            ),
        ),
    ),
)  # fmt: skip
