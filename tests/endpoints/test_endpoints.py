"""The endpoints addon in a running Wirekey: its addresses, its readiness report, its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mitmproxy import exceptions, options

from tests.support.local_endpoints import PATIENCE
from tests.support.opa import Opa
from wirekey.config import load
from wirekey.config.listen import GatewayTLSConfig
from wirekey.core.calls.services import Services
from wirekey.core.identity.agents import AgentStore
from wirekey.server import bundle
from wirekey.server.endpoints import Endpoints
from wirekey.server.master import ServeMaster
from wirekey.server.runtime import RunningProxy
from wirekey_simulator.certificate import prepare_certificate

FREE = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
TOKEN, KEYS = "/api/v1/auth/token", "/.well-known/jwks.json"


def configured(folder, listen=None, **more):
    settings = {"state": str(folder / "state"), "certs": str(folder / "certs"), "listen": listen or FREE, **more}
    (folder / "wirekey.yaml").write_text(json.dumps(settings))
    return load(folder / "wirekey.yaml", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with state and CA, made once because a CA is slow to make."""
    return tmp_path_factory.mktemp("wirekey")


class Running:
    def __init__(self, folder, config):
        self.folder = folder
        self.master = ServeMaster(options.Options(confdir=str(folder / "certs")))
        self.services = Services()
        ours = bundle.addons_in_order(self.services, config)
        self.lifecycle = ours[0]
        self.endpoints = next(addon for addon in ours if isinstance(addon, Endpoints))
        builtin = list(self.master.addons.chain)
        self.master.addons.add(*ours)
        self.master.addons.chain[:] = [*ours, *builtin]
        self.lifecycle.configure(set())

    def http(self, name="console", scheme="http", **more):
        url = f"{scheme}://{self.endpoints.addresses[name]}"
        return httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False, **more)

    async def parts(self):
        async with self.http() as http:
            response = await http.get("/ready")
        content = response.json()
        assert response.status_code == (200 if content["status"] == "ready" else 503)
        return {name: part.get("reason") for name, part in content["parts"].items()}


@contextlib.asynccontextmanager
async def wirekey(folder, config, announce=lambda _: None):
    """Run addons, endpoints, wire layer and audit in this process, wired as `wirekey serve` wires them."""
    made = Running(folder, config)
    made.lifecycle.on_started = announce
    running = asyncio.create_task(made.master.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while not made.lifecycle.reloader.tasks:
                if running.done():
                    running.result()
                await asyncio.sleep(0.01)
        yield made
    finally:
        made.master.shutdown()
        await asyncio.wait([running], timeout=PATIENCE)
        await made.lifecycle.done()


async def started(folder, config):
    """Start a Wirekey that must fail; return the exit code of mitmproxy."""
    made = Running(folder, config)
    try:
        async with asyncio.timeout(PATIENCE):
            await made.master.run()
    except SystemExit as ending:
        return ending.code, made
    finally:
        await made.lifecycle.done()
    return 0, made


async def test_both_listeners_serve_the_same_keys_and_a_new_client_gets_a_token(folder):
    async with (
        wirekey(folder, configured(folder)) as running,
        running.http() as console,
        running.http("gateway") as gateway,
    ):
        assert set(running.endpoints.addresses) == {"console", "gateway"}
        added = AgentStore(folder / "state" / "agents.json").add_client(f"alice{os.getpid()}")
        whole = {
            "grant_type": "client_credentials",
            "client_id": added.client_id,
            "client_secret": added.client_secret.reveal(),
        }
        found = []

        async def is_known():
            found[:] = [await http.post(TOKEN, data=whole) for http in (console, gateway)]
            return {response.status_code for response in found} == {200}

        async with asyncio.timeout(PATIENCE):
            while not await is_known():
                await asyncio.sleep(0.5)
        documents = [(await http.get(KEYS)).json() for http in (console, gateway)]
        assert documents[0] == documents[1]
        assert (await gateway.get("/health")).json() == {"status": "ok"}


async def test_a_running_wirekey_is_ready_or_names_the_part_that_is_not(folder, monkeypatch):
    async with wirekey(folder, configured(folder)) as running:
        assert await running.parts() == {"listeners": None, "audit": None, "ca": None, "policy": None}

        monkeypatch.setattr(running.services.store, "_down", "the audit writer has failed")
        assert (await running.parts())["audit"] == "the audit writer has failed"
        monkeypatch.undo()

        authority = running.lifecycle.authority
        now = datetime.now(UTC)
        for begins, ends, reason in [
            (now - timedelta(days=2), now - timedelta(days=1), "the CA has expired"),
            (now + timedelta(days=1), now + timedelta(days=2), "the CA is not valid yet"),
        ]:
            running.lifecycle.authority = SimpleNamespace(begins=begins, expires=ends)
            assert (await running.parts())["ca"].startswith(reason)
        running.lifecycle.authority = authority
        assert (await running.parts()) == dict.fromkeys(["listeners", "audit", "ca", "policy"])

        await running.master.addons.get("proxyserver").servers.update([])
        assert (await running.parts())["listeners"] == "the proxy does not listen"


async def test_a_policy_server_that_stops_and_restarts_is_noticed_without_a_call(folder, monkeypatch):
    monkeypatch.setattr("wirekey.server.readiness.POLICY_CHECK_INTERVAL", 0.0)
    policies = {"authz.rego": "package wirekey.authz\nallow := true\n"}
    opa = Opa(policies)
    config = configured(folder, policy={"opa_url": opa.url})

    async def becomes(running, reason):
        async with asyncio.timeout(PATIENCE):
            while (await running.parts())["policy"] != reason:
                await asyncio.sleep(0.01)

    async with wirekey(folder, config) as running:
        await becomes(running, None)
        opa.faults = [b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"] * 100_000
        await becomes(running, "the OPA server cannot decide calls")
        opa.faults = []
        await becomes(running, None)
        opa.policies.clear()
        await becomes(running, "the OPA server cannot decide calls")
    opa.stop()


async def test_a_policy_without_decisions_is_noticed(folder, monkeypatch):
    monkeypatch.setattr("wirekey.server.readiness.POLICY_CHECK_INTERVAL", 0.0)
    async with wirekey(folder, configured(folder)) as running:

        async def broken(_):
            raise RuntimeError

        monkeypatch.setattr(running.services.policy._loaded.__class__, "document", lambda _, given: broken(given))
        async with asyncio.timeout(PATIENCE):
            while (await running.parts())["policy"] != "the policy cannot decide calls":
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        monkeypatch.setattr("wirekey.server.readiness.POLICY_CHECK_INTERVAL", 0.0)
        async with asyncio.timeout(PATIENCE):
            while (await running.parts())["policy"]:
                await asyncio.sleep(0.01)


async def test_during_shutdown_it_is_alive_and_not_ready(folder):
    async with wirekey(folder, configured(folder)) as running:
        await running.lifecycle.done()
        parts = await running.parts()
        assert (parts["listeners"], parts["audit"]) == ("Wirekey is stopping", "Wirekey is closing")
        async with running.http() as http:
            assert (await http.get("/health")).status_code == 200


async def test_a_changed_configuration_applies_to_the_next_token(folder):
    async with wirekey(folder, configured(folder)) as running, running.http() as http:
        await running.lifecycle.reloader.end()
        made = AgentStore(folder / "state" / "agents.json").add_client(f"changing{os.getpid()}")
        whole = {"grant_type": "client_credentials", "client_id": made.client_id}
        whole["client_secret"] = made.client_secret.reveal()
        running.services.agents.refresh()
        elsewhere = {"issuer": "https://id.example/", "jwks_url": "https://id.example/jwks.json"}
        changes = [({}, 200, 3600), ({"lifetime": 60.0}, 200, 60), (elsewhere, 404, None), ({}, 200, 3600)]
        for jwt, status, lifetime in changes:
            configured(folder, identity={"jwt": jwt})
            await running.lifecycle.reloader.reload()
            response = await http.post(TOKEN, data=whole)
            assert (response.status_code, response.json().get("expires_in")) == (status, lifetime)


async def test_the_keys_outlive_the_process(folder):
    found = []
    for _ in range(2):
        async with wirekey(folder, configured(folder)) as running, running.http() as http:
            found.append((await http.get(KEYS)).json())
    assert found[0] == found[1]


async def test_the_addresses_are_announced_once_and_when_all_of_them_are_reachable(folder, monkeypatch):
    written, announced = [], []
    write = RunningProxy.write
    monkeypatch.setattr(RunningProxy, "write", lambda one, state: written.append(one) or write(one, state))

    def announce(lifecycle):
        for place in (written[-1].forward, written[-1].gateway, written[-1].console):
            host, _, port = place.rpartition(":")
            socket.create_connection((host, int(port))).close()
        announced.append((lifecycle.running_proxy, RunningProxy.read(folder / "state")))

    config = configured(folder)
    async with wirekey(folder, config, announce) as running:
        addresses = running.endpoints.addresses
        assert len(written) == 1
        assert announced == [(written[0], written[0])]
        assert (written[0].gateway, written[0].console) == (addresses["gateway"], addresses["console"])


@pytest.mark.parametrize("name", ["console", "gateway"])
async def test_a_disabled_listener_is_not_opened(folder, name):
    other = "gateway" if name == "console" else "console"
    async with wirekey(folder, configured(folder, {**FREE, name: None})) as running:
        await asyncio.sleep(0)
        assert set(running.endpoints.addresses) == {other}


async def test_a_configured_port_in_use_stops_the_start(folder, caplog, monkeypatch):
    """This includes a port that another program takes after the check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        config = configured(folder, {**FREE, "console": place})
        with pytest.raises(exceptions.OptionsError, match=rf"{place} \(listen.console\) is in use"):
            Running(folder, config)
        monkeypatch.setattr("wirekey.server.listeners.OPTIONAL", ())
        code, made = await started(folder, config)
    assert code == 1
    assert made.lifecycle.running_proxy is None
    assert RunningProxy.read(folder / "state") is None
    assert (
        f"Wirekey cannot start: {place} (listen.console) is in use by another program. "
        "Stop that program, or set another port in wirekey.yaml." in caplog.text
    )
    assert not made.endpoints.servers


async def test_a_default_port_in_use_is_skipped(folder, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    config = configured(folder, {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # The default itself may be free, or not, on the machine of the test.
        place = type(config.listen.console)("127.0.0.1", taken.getsockname()[1])
        monkeypatch.setitem(config.listen.__dict__, "console", place)
        async with wirekey(folder, config) as running:
            assert set(running.endpoints.addresses) == {"gateway"}
            async with running.http("gateway") as http:
                assert (await http.get("/ready")).status_code == 200
    assert f"{place} (listen.console) is in use by another program." in caplog.text
    assert "Until then Wirekey runs without the console." in caplog.text


def files_of(folder, made):
    """Write the chain and key of the simulator's certificate, which has 127.0.0.1 in it, to files."""
    server, root = prepare_certificate(made)
    (folder / "gateway.pem").write_bytes(server.read_bytes())
    (folder / "gateway-key.pem").write_bytes(server.read_bytes())
    (folder / "root.pem").write_bytes(root.read_bytes())
    return GatewayTLSConfig(certificate=folder / "gateway.pem", key=folder / "gateway-key.pem")


@contextlib.asynccontextmanager
async def with_certificate(folder, tmp_path):
    files = files_of(tmp_path, tmp_path / "made")
    tls = {"certificate": str(files.certificate), "key": str(files.key)}
    async with wirekey(folder, configured(folder, {**FREE, "gateway_tls": tls})) as running:
        yield running


async def is_shown(running, context):
    async with running.http("gateway", "https", verify=context) as http:
        try:
            return (await http.get("/health")).status_code == 200
        except httpx.ConnectError:
            return False


async def test_the_gateway_accepts_tls_and_plain_http_on_one_port_and_the_console_does_not(folder, tmp_path):
    async with with_certificate(folder, tmp_path) as running:
        context = ssl.create_default_context(cafile=tmp_path / "root.pem")
        assert await is_shown(running, context)
        async with running.http("gateway") as http:
            assert (await http.get("/health")).status_code == 200
        async with running.http("console", "https", verify=context) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/health")


@pytest.mark.parametrize(("version", "agreed"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
async def test_the_gateway_refuses_old_versions_of_tls(folder, tmp_path, version, agreed):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with with_certificate(folder, tmp_path) as running:
        assert await is_shown(running, context) == agreed


async def test_a_renewed_certificate_is_used_and_a_bad_one_is_not(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("wirekey.core.ca.gateway_certificate.CHECK_INTERVAL", 0.0)
    async with with_certificate(folder, tmp_path) as running:
        previous = ssl.create_default_context(cafile=tmp_path / "root.pem")
        assert await is_shown(running, previous)
        (tmp_path / "gateway.pem").write_text("half of a certifi")
        assert await is_shown(running, previous)
        assert "The previous certificate stays in use." in caplog.text
        files_of(tmp_path, tmp_path / "another")
        assert not await is_shown(running, previous)
        assert await is_shown(running, ssl.create_default_context(cafile=tmp_path / "root.pem"))


async def test_an_unusable_certificate_at_the_start_is_reported_in_one_message(folder, tmp_path):
    files = files_of(tmp_path, tmp_path / "made")
    files_of(tmp_path / "made", tmp_path / "another")
    tls = {"certificate": str(files.certificate), "key": str(tmp_path / "made" / "gateway-key.pem")}
    with pytest.raises(
        exceptions.OptionsError, match=r"Wirekey cannot start: listen.gateway_tls: .* not a certificate"
    ):
        Running(folder, configured(folder, {**FREE, "gateway_tls": tls}))


async def test_a_wirekey_that_failed_to_start_serves_nothing(tmp_path):
    endpoints = Endpoints(Services(), SimpleNamespace(listening=False))
    await endpoints.running()
    assert endpoints.addresses == {}
    await endpoints.done()


async def test_it_can_start_and_stop_repeatedly(folder):
    for _ in range(5):
        async with wirekey(folder, configured(folder)) as running, running.http() as http:
            assert (await http.get("/health")).status_code == 200
            address = running.endpoints.addresses["console"]
        assert running.endpoints.addresses == {}
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


async def test_the_flow_of_a_google_login_shows_neither_the_state_nor_the_cookie(folder):
    """Mitmweb and dumps show flows. The redirect to Google has the state, and the cookie binds the login."""
    client = {"oauth_client": {"id": "env:CLIENT_ID"}}
    backends = {"gemini-oauth-auto": {"enabled": True}}
    (folder / ".env").write_text("CLIENT_ID=1234.apps.googleusercontent.com\n")
    shown = []
    async with wirekey(folder, configured(folder, google=client, backends=backends)) as running:
        running.master.addons.add(SimpleNamespace(response=lambda flow: shown.append(flow.get_state())))
        async with running.http("gateway") as http:
            port = running.endpoints.addresses["gateway"].rpartition(":")[2]
            response = await http.get("/auth/login?x=canary", headers={"host": f"localhost:{port}"})
    (folder / ".env").unlink()
    assert response.status_code == 302
    state = parse_qs(urlsplit(response.headers["location"]).query)["state"][0]
    cookie = response.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert len(shown) == 1
    for secret in (state, cookie, "canary"):
        assert secret not in repr(shown)
