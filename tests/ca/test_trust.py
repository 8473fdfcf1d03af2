"""Clients that trust our root trust it only for the provider hosts and the gateway on this machine.

The leaves are those that mitmproxy makes from the folder, for names that it should never be asked for too: a stolen
key could make them.
"""

import contextlib
import ipaddress
import itertools
import re
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore

from wirekey.core.ca.authority import ensure
from wirekey.core.ca.certificates import issue, issue_for_gateway

BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
HOSTS = ["api.openai.com", "generativelanguage.googleapis.com", "api.anthropic.com", BEDROCK]
GOOD = [*HOSTS, "eu.api.openai.com"]
FOREIGN = ["example.com", "openai.com", "xapi.openai.com", "s3.us-east-1.amazonaws.com", "*.com", "localhost.example"]
ADDRESSES = ["192.0.2.1", "127.0.0.2", "10.0.0.1", "2001:db8::1", "::2", "::ffff:127.0.0.1"]
HERE = ["localhost", "127.0.0.1", "::1"]
"""What programs of this machine call the gateway."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return ensure(tmp_path_factory.mktemp("ca") / "certs", HOSTS)


@pytest.fixture(scope="module")
def store(ca):
    return CertStore.from_store(ca.folder, "mitmproxy", 2048)


def general(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="module")
def pem(store, tmp_path_factory):
    """Return a function from names to a file with key and chain of a leaf certificate, as mitmproxy would serve it."""

    folder, number = tmp_path_factory.mktemp("leaves"), itertools.count()

    def make(*names):
        entry = store.get_cert(names[0] if names else "example.com", [general(name) for name in names])
        key = entry.privatekey.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = folder / f"{next(number)}.pem"
        file.write_bytes(key + entry.cert.to_pem() + b"".join(each.to_pem() for each in entry.chain_certs))
        return file

    return make


@contextlib.contextmanager
def serving(file):
    """Listen on a free port with this certificate, answering each request with 204."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(20)
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def handshake(ca, file, name):
    """Let Python's ssl, as strict as it can be, meet this server."""
    context = ssl.create_default_context(cafile=ca.bundle_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        serving(file) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name),
    ):
        return True


def openssl_verifies(ca, file):
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-CAfile", ca.root_file, "-untrusted", file, file]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_mitmproxys_certificate_store_loads_the_ca(store, ca):
    assert store.default_ca._cert == ca.working
    assert [each._cert for each in store.default_chain_certs] == [ca.working, ca.root]


@pytest.fixture(scope="module")
def gateway(ca, tmp_path_factory):
    """The file of key and chain that the gateway shows."""
    file = tmp_path_factory.mktemp("gateway") / "gateway.pem"
    file.write_bytes(issue_for_gateway(ca.key_file.read_bytes(), datetime.now(UTC)))
    return file


@pytest.fixture(scope="module")
def shown(pem, gateway):
    """Return a function from a name to the file of the certificate that clients of that name get."""
    return lambda name: gateway if name in HERE else pem(name)


@pytest.mark.parametrize("host", GOOD)
def test_python_trusts_it_for_a_provider(ca, pem, host):
    assert handshake(ca, pem(host), host)


@pytest.mark.parametrize("name", HERE)
def test_python_trusts_it_for_the_gateway(ca, gateway, name):
    assert handshake(ca, gateway, name)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_additional_address_in_a_certificate_is_not_trusted(ca, pem, address):
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
        handshake(ca, pem("localhost", "127.0.0.1", address), "localhost")


@pytest.mark.parametrize("name", ["example.com", "xapi.openai.com", *ADDRESSES])
def test_python_does_not_trust_it_for_other_hosts(ca, pem, name):
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
        handshake(ca, pem(name), name)


def test_an_additional_host_name_in_a_certificate_is_not_trusted(ca, pem):
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
        handshake(ca, pem("api.openai.com", "example.com"), "api.openai.com")


def test_the_leaf_certificate_for_the_doctor_is_trusted(ca, tmp_path):
    file = tmp_path / "leaf.pem"
    file.write_bytes(issue(ca.key_file.read_bytes(), "api.openai.com", datetime.now(UTC)))
    assert handshake(ca, file, "api.openai.com")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("host", GOOD)
def test_openssl_verifies_a_provider(ca, pem, host):
    done = openssl_verifies(ca, pem(host))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_verifies_the_gateway(ca, gateway):
    done = openssl_verifies(ca, gateway)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("name", [*FOREIGN, *ADDRESSES])
def test_openssl_refuses_other_hosts(ca, pem, name):
    done = openssl_verifies(ca, pem(name))
    assert done.returncode != 0
    assert "subtree violation" in done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(("name", "code"), [
        ("api.anthropic.com", 0), ("localhost", 0), ("127.0.0.1", 0), ("[::1]", 0),
        ("example.com", 60), ("127.0.0.2", 60), ("192.0.2.1", 60), ("[2001:db8::1]", 60),
    ],
)  # fmt: skip
def test_curl_trusts_it_only_for_providers_and_the_gateway(ca, shown, name, code):
    with serving(shown(name.strip("[]"))) as port:
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", ca.bundle_file, "-o", "/dev/null"]
        command += ["--connect-to", f"::127.0.0.1:{port}", f"https://{name}:{port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr


def answers(command, shown, names, environ=None):
    """Run a program once, with a port and a name for each server. Return its line about each name."""
    with contextlib.ExitStack() as stack:
        asked = [(name, stack.enter_context(serving(shown(name)))) for name in names]
        arguments = [str(part) for name, port in asked for part in (port, name)]
        done = subprocess.run([*command, *arguments], env=environ, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == len(names), done.stdout + done.stderr
    return dict(zip(names, lines, strict=True))


NODE = """
const [net, tls] = [require('node:net'), require('node:tls')];
const asked = process.argv.slice(1);
(async () => {
  while (asked.length) {
    const [port, name] = asked.splice(0, 2);
    const socket = net.connect(port, '127.0.0.1');
    const named = net.isIP(name) ? {host: name} : {servername: name};
    console.log(await new Promise((resolve) => {
      const secure = tls.connect({socket, ...named}, () => resolve('trusted'));
      secure.on('error', (error) => resolve(`refused: ${error.message}`));
    }));
    socket.destroy();
  }
  process.exit(0);
})();
"""
NODE_ANSWERS = {
    **dict.fromkeys(["api.openai.com", *HERE], "trusted"),
    **dict.fromkeys(["example.com", "127.0.0.2", "2001:db8::1"], "refused: .*subtree"),
}


@pytest.fixture(scope="module")
def node_answers(ca, shown):
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")
    environ = {"NODE_EXTRA_CA_CERTS": str(ca.root_file), "PATH": str(Path(node).parent)}
    return answers([node, "-e", NODE, "--"], shown, NODE_ANSWERS, environ)


@pytest.mark.parametrize("name", NODE_ANSWERS)
def test_node_trusts_it_only_for_providers_and_the_gateway(node_answers, name):
    assert re.match(NODE_ANSWERS[name], node_answers[name]), node_answers[name]


JAVA = """
import java.net.*;
import javax.net.ssl.*;

public class Trusts {
    public static void main(String[] arguments) throws Exception {
        for (int at = 0; at < arguments.length; at += 2) {
            int port = Integer.parseInt(arguments[at]);
            try (Socket plain = new Socket("127.0.0.1", port)) {
                SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
                SSLSocket secure = (SSLSocket) factory.createSocket(plain, arguments[at + 1], port, true);
                SSLParameters parameters = secure.getSSLParameters();
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                secure.setSSLParameters(parameters);
                secure.startHandshake();
                System.out.println("trusted");
            } catch (SSLException refused) {
                System.out.println("refused: " + refused.getMessage());
            }
        }
    }
}
"""


JAVA_ANSWERS = {
    **dict.fromkeys([BEDROCK, "localhost", "127.0.0.1"], "trusted"),
    **dict.fromkeys(["example.com", "127.0.0.2", "2001:db8::1"], "refused: PKIX"),
}


@pytest.fixture(scope="module")
def java_answers(ca, shown, tmp_path_factory):
    if not (shutil.which("java") and shutil.which("javac")):
        pytest.skip("no Java compiler is installed")
    folder = tmp_path_factory.mktemp("java")
    (folder / "Trusts.java").write_text(JAVA)
    subprocess.run(["javac", "-d", folder, folder / "Trusts.java"], check=True, capture_output=True, timeout=120)
    command = [
        "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", folder,
        f"-Djavax.net.ssl.trustStore={ca.truststore_file}", "-Djavax.net.ssl.trustStoreType=PKCS12",
        "-Djavax.net.ssl.trustStorePassword=changeit", "Trusts",
    ]  # fmt: skip
    return answers(command, shown, JAVA_ANSWERS)


@pytest.mark.parametrize("name", JAVA_ANSWERS)
def test_java_trusts_it_only_for_providers_and_the_gateway(java_answers, name):
    assert java_answers[name].startswith(JAVA_ANSWERS[name]), java_answers[name]


@pytest.mark.skipif(not shutil.which("keytool"), reason="keytool is not installed")
def test_keytool_lists_ours_among_the_trusted_roots(ca):
    command = ["keytool", "-list", "-storetype", "PKCS12", "-storepass", "changeit", "-keystore", ca.truststore_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("wirekey,"))
    assert "trustedCertEntry" in lines[at]
    assert ca.fingerprint in lines[at + 1]
