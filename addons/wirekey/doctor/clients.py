"""The client runtimes that the doctor knows: how to find one, and the smallest program that makes a call in it.

Each program asks for `https://HOST/v1/models` in the way programs in that runtime do, without any setting of its own.
It is judged by what arrives at the proxy, not by what it says. Its exit code 77 means that a library is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wirekey.doctor import programs

NOT_INSTALLED = 77
PATH = "/v1/models"


@dataclass(frozen=True, slots=True)
class Client:
    """One way to make a call in a runtime.

    In `arguments` {host} stands for a provider host, {url} for an URL there, {folder} for a folder of its own, in
    which `file` is written as (name, text). `host` is the provider whose host is called.
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
    """A program to look for on PATH, by any of its names, and in `elsewhere` (patterns below the home folder).

    `version` are the arguments that make it say its version; one that fails at that is not installed. Two names that
    say the same are one. `absent` are words in its output that mean that a part of it is not installed.
    """

    names: tuple[str, ...]
    version: tuple[str, ...]
    clients: tuple[Client, ...]
    elsewhere: tuple[str, ...] = ()
    absent: tuple[str, ...] = field(default=())


PYTHON_PROXY = "the program must not be given trust_env=False or proxies of its own"
NODE_PROXY = (
    "NODE_OPTIONS must keep the --require of `wirekey env`; a program with a dispatcher or agent of its own needs "
    "undici's EnvHttpProxyAgent or https-proxy-agent. Node below 18 cannot be helped: take a newer one"
)
NODE_TRUST = "NODE_EXTRA_CA_CERTS must name the root when Node starts; setting it from within is too late"

RUNTIMES = (
    Runtime(
        names=("python3", "python"),
        version=("-c", "import platform, sys; print('Python', platform.python_version(), sys.prefix)"),
        clients=(
            Client(
                "ssl",
                ("-c", programs.PYTHON_SSL, "{url}"),
                PYTHON_PROXY,
                "SSL_CERT_FILE must name the bundle; a program with a context of its own must load it",
            ),
            Client(
                "requests",
                ("-c", programs.PYTHON_REQUESTS, "{url}"),
                PYTHON_PROXY,
                "REQUESTS_CA_BUNDLE must name the bundle; `verify` in the program wins over it",
            ),
            Client(
                "httpx",
                ("-c", programs.PYTHON_HTTPX, "{url}"),
                PYTHON_PROXY,
                "SSL_CERT_FILE must name the bundle: httpx below 0.28 and trust_env=False do not read it; pass verify=",
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
                "a `proxy` or `noproxy` line in ~/.curlrc wins over HTTPS_PROXY: take it out",
                "a `cacert` line in ~/.curlrc wins over CURL_CA_BUNDLE: take it out; curl of macOS: add the root to "
                "the keychain",
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
                "JAVA_TOOL_OPTIONS must keep the https.proxyHost of `wirekey env`; a client with a proxy setting of "
                "its own, such as the AWS SDK for Java, needs it there",
                "JAVA_TOOL_OPTIONS must keep the truststore of `wirekey env`; or add the root to the JVM's: keytool "
                "-importcert -cacerts -file {root}",
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
                "a http.Transport of one's own needs Proxy: http.ProxyFromEnvironment",
                "SSL_CERT_FILE must name the bundle; on macOS and Windows Go asks the system: add the root there",
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
                # Unsigned, so that it needs no credentials: all that matters is where it goes.
                ("bedrock-runtime", "invoke-model", "--no-sign-request", "--cli-read-timeout", "20",
                 "--model-id", "wirekey.doctor", "--body", "e30=", "{folder}/answer"),
                "`proxies` of the profile in ~/.aws/config win over HTTPS_PROXY: take them out",
                "`ca_bundle` of the profile in ~/.aws/config wins over AWS_CA_BUNDLE: take it out",
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
                "http.proxy in git's configuration wins over HTTPS_PROXY: git config --global --unset http.proxy",
                "http.sslCAInfo in git's configuration: git config --global --unset http.sslCAInfo",
                calls_providers=False,
            ),
        ),
    ),
)  # fmt: skip
