"""Behind load balancers: the client's address, and restarts that no client notices, with the real HAProxy.

WIREKEY_FLEET_STREAMS=1000 sets the number of streams that are in progress during the rolling restart.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.balancer import LISTENERS, Balancer, fleet_behind, haproxy_program
from tests.support.load import chat
from tests.support.raw_client import RawClient, post
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for
from tests.support.steady_load import SteadyLoad, gateway_chat

ROOT = Path(__file__).parents[3]
STREAMS = int(os.environ.get("WIREKEY_FLEET_STREAMS", "40"))
HEADER = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def proxied(tmp_path_factory, simulator, request):
    settings = behind(simulator, listen={**LISTENERS, "proxy_protocol": ["127.0.0.1"]}, workers=request.param)
    proxy = Wirekey(tmp_path_factory.mktemp("proxied"), settings, environ=KEY_ENVIRONMENT)
    yield proxy
    proxy.stop()


def test_the_client_is_the_one_of_the_header_on_every_listener(proxied):
    token = proxied.add_agent()
    for pieces in ([HEADER], [HEADER[:20], HEADER[20:]], [HEADER[:1], HEADER[1:40], HEADER[40:]]):
        with RawClient(proxied.running.gateway) as client:
            for piece in pieces:
                client.send(piece)
                time.sleep(0.02)
            client.send(gateway_chat(token, "gateway"))
            assert client.read_response().status == 200
    with RawClient(proxied.running.forward) as client:
        client.send(HEADER)
        assert client.connect("api.openai.com:443", "alice", token).status == 200
        client.start_tls(proxied.root, "api.openai.com")
        client.send(chat("forward"))
        assert client.read_response().status == 200
    assert {event["client"] for event in proxied.finished_events(4)} == {"203.0.113.7"}
    with RawClient(proxied.running.console) as client:
        client.send(HEADER[:9])
        time.sleep(0.05)
        client.send(HEADER[9:] + b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.read_response().status == 200
        client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.read_response().status == 403, (
            "metrics are for programs of this machine, which the client is not on"
        )


@pytest.mark.parametrize("listener", ["forward", "gateway", "console"])
def test_a_connection_of_a_load_balancer_without_a_header_is_closed(proxied, listener):
    with RawClient(getattr(proxied.running, listener)) as client:
        client.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.wait_closed()


def test_a_header_of_anyone_else_is_not_believed(start):
    """Not even if it names this machine, to which the console shows more, or a load balancer."""
    proxy = start(listen={**LISTENERS, "proxy_protocol": ["10.0.0.0/8"]})
    headers = [HEADER, HEADER.replace(b"203.0.113.7", b"127.0.0.1"), HEADER.replace(b"203.0.113.7", b"10.0.0.1")]
    for listener in ("forward", "gateway", "console"):
        for header in headers:
            with RawClient(getattr(proxy.running, listener)) as client:
                client.send(header + b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                response = client.read_response()
                assert response.status == 400, (listener, header, response)
    assert not [event for event in proxy.events() if event["client"] != "127.0.0.1"]


def test_forwarded_addresses_are_believed_of_trusted_proxies_only_and_never_sent_on(start, simulator):
    for trusted, client_address in ((["127.0.0.1"], "203.0.113.7"), ([], "127.0.0.1")):
        simulator.forget()
        proxy = start(listen={**LISTENERS, "trusted_proxies": trusted})
        token = proxy.add_agent()
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
        lines = ("X-Forwarded-For: 198.51.100.1, 203.0.113.7", f"Authorization: Bearer {token}")
        with RawClient(proxy.running.gateway) as client:
            client.send(post(*lines, host="localhost", body=body))
            assert client.read_response().status == 200
        assert proxy.finished_event()["client"] == client_address
        (request,) = simulator.seen
        assert not [name for name, _ in request.headers if name.lower().startswith(b"x-forwarded")]


# HAProxy.


@pytest.fixture
def haproxy():
    return haproxy_program()


def test_the_configuration_in_deploy_is_valid(haproxy):
    checked = subprocess.run([haproxy, "-c", "-f", ROOT / "deploy/haproxy.cfg"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr + checked.stdout


def test_haproxy_starts_with_a_low_limit_of_open_files(haproxy, start, tmp_path):
    """1,024 is what a shell and many services have. A fixed `maxconn` above it ends HAProxy at the start."""
    replica = start(listen={**LISTENERS, "proxy_protocol": ["127.0.0.1"]})
    balancer = Balancer(haproxy, tmp_path, [replica], files=1024)
    balancer.stop()


def test_haproxy_on_the_machine_of_a_replica_has_an_address_of_its_own(haproxy, start, tmp_path):
    """Otherwise all programs of this machine would need a header of the PROXY protocol."""
    replica = start(listen={**LISTENERS, "proxy_protocol": ["127.0.0.2"]})
    balancer = Balancer(haproxy, tmp_path, [replica], source="127.0.0.2")
    try:
        token = replica.add_agent()
        for place in (balancer.running.gateway, replica.running.gateway):
            with RawClient(place) as client:
                client.send(gateway_chat(token, "a-call"))
                assert client.read_response().status == 200
        with RawClient(replica.running.console) as client:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.read_response().status == 200, "this program is on the machine"
    finally:
        balancer.stop()


@pytest.fixture
def fleet(tmp_path, simulator, haproxy):
    timeouts = {"drain": 60.0, "drain_delay": 2.0}
    with fleet_behind(haproxy, tmp_path, simulator, timeouts=timeouts) as made:
        yield made


@pytest.mark.alone
def test_replicas_restart_one_by_one_and_no_client_notices(fleet):
    balancer, replicas = fleet
    token = replicas[0].token
    streams: list[threading.Thread] = []
    broken: list[str] = []

    def follow(number: int) -> None:
        """Follow a stream that begins after some seconds."""
        try:
            with RawClient(balancer.running.gateway) as client:
                client.send(gateway_chat(token, f"sim-headers-delay-{2 + number % 5}", stream=True))
                response = client.read_response()
                if response.status != 200 or not response.body.rstrip().endswith(b"data: [DONE]"):
                    broken.append(f"{response.status} {response.body[-200:]!r}")
        except (OSError, AssertionError) as error:
            broken.append(repr(error))

    load = SteadyLoad(balancer, token, 8)
    for number in range(STREAMS):
        streams.append(threading.Thread(target=follow, args=(number,), daemon=True))
        streams[-1].start()
    wait_for(lambda: len(load.answered) > 20, "some calls")
    for replica in replicas:
        replica.process.send_signal(signal.SIGTERM)
        assert replica.process.wait(120) == 0
        replica.start()
        time.sleep(1)  # until HAProxy has noticed
    done = len(load.answered)
    wait_for(lambda: len(load.answered) > done + 50, "calls after the restarts")
    load.stop()
    for stream in streams:
        stream.join(60)
    assert broken == []
    assert load.failures == []
    events = [event for replica in replicas for event in replica.events()]
    assert {event["outcome"] for event in events} <= {"completed", None}
    assert {event["client"] for event in events} == {"127.0.0.1"}
