"""The fleet of deploy/compose.yaml: its files fit together, and three such replicas work with the real servers.

There is no container runtime here. The replicas are processes with the configuration of `deploy`, on other addresses,
with PostgreSQL, Redis and HAProxy of this machine. The commands of the guide that make the files are run as they are.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from tests.docs.pages import blocks_of
from tests.packaging.schemas import checked_by
from tests.support.balancer import Balancer, haproxy_program
from tests.support.fork_server import PATIENT_WITH_REDIS
from tests.support.postgres_server import PostgresServer
from tests.support.raw_client import RawClient
from tests.support.redis_server import RedisServer
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, bare_environment, behind, wait_for
from tests.support.steady_load import gateway_chat
from wirekey.cli.main import group
from wirekey.config import Config, provider_hosts
from wirekey.config.dotenv import parse_dotenv
from wirekey.core.ca import authority
from wirekey.core.identity.agents import AgentStore

DEPLOY = Path(__file__).parents[2] / "deploy"
READER = YAML(typ="safe")
COMPOSE = READER.load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CONFIGURATION = READER.load((DEPLOY / "fleet.yaml").read_text())
REPLICAS = [name for name in SERVICES if name.startswith("wirekey")]
MADE = {"keys.env", "ca.pem"}
"""Files that the reader of the guide makes. Compose reads `.env` by itself."""
HEADER = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"


def secrets_block() -> str:
    """Return the commands of the guide that make the secrets."""
    (text,) = [block.text for block in blocks_of("docs/guides/fleet.md") if "cat > deploy/.env" in block.text]
    return text


@pytest.fixture(scope="module")
def variables(tmp_path_factory) -> dict[str, str]:
    """The variables that the commands of the guide make."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "deploy").mkdir()
    environ = bare_environment() | {"OPENAI_API_KEY": "sk-none"}
    subprocess.run(["bash", "-euc", secrets_block()], cwd=folder, check=True, env=environ)
    assert (folder / "deploy/keys.env").read_text() == "OPENAI_API_KEY=sk-none\n"
    for name in (".env", "keys.env"):
        assert (folder / "deploy" / name).stat().st_mode & 0o777 == 0o600
    file = folder / "deploy/.env"
    found, problems = parse_dotenv(file.read_text(), file)
    assert not problems
    return found


# The files.

COMPOSE_CHECK = """
import importlib.metadata, json, sys
import jsonschema
files = importlib.metadata.files("docker-compose")
schema, = [file for file in files if file.name == "compose_spec.json"]
for error in jsonschema.Draft7Validator(json.loads(schema.read_text())).iter_errors(json.load(sys.stdin)):
    print(list(error.path), error.message)
"""


@pytest.mark.parametrize("name", ["compose.yaml", "compose-single.yaml"])
def test_the_file_follows_the_schema_of_compose(name):
    document = READER.load((DEPLOY / name).read_text())
    assert checked_by(COMPOSE_CHECK, document) == ""
    document["services"]["mistake"] = {"imag": "wirekey"}
    assert "imag" in checked_by(COMPOSE_CHECK, document)


def test_everything_that_a_service_names_exists():
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service.get("depends_on", [])) <= set(SERVICES), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], volume
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    named |= {SERVICES[name]["env_file"] for name in REPLICAS}
    assert named == MADE


def test_the_variables_are_those_that_the_commands_of_the_guide_make(variables):
    used = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    assert used == set(variables)
    assert len(set(variables.values())) == len(variables)
    assert all(len(value) >= 32 for value in variables.values())


def test_programs_reach_haproxy_and_nothing_else():
    assert [name for name, service in SERVICES.items() if "agents" in service["networks"]] == ["haproxy"]
    assert all(COMPOSE["networks"][name]["internal"] for name in ("agents", "fleet"))
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == REPLICAS
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_fixed_addresses_are_those_of_the_configuration():
    fixed = {
        name: service["networks"]["fleet"]["ipv4_address"]
        for name, service in SERVICES.items()
        if isinstance(service["networks"], dict) and service["networks"].get("fleet")
    }
    assert CONFIGURATION["listen"]["proxy_protocol"] == [fixed["haproxy"]]
    assert CONFIGURATION["console"]["metrics_from"] == [fixed["prometheus"]]
    subnet = ipaddress.ip_network(COMPOSE["networks"]["fleet"]["ipam"]["config"][0]["subnet"])
    assert all(ipaddress.ip_address(address) in subnet for address in fixed.values())


def test_haproxy_and_prometheus_know_each_replica():
    text = (DEPLOY / "haproxy.cfg").read_text()
    for port in ("8080", "8000"):
        servers = re.findall(rf"^    server (\S+) (\S+):{port}$", text, re.MULTILINE)
        assert servers == [(name, name) for name in REPLICAS]
    prometheus = READER.load((DEPLOY / "prometheus.yaml").read_text())
    (job,) = prometheus["scrape_configs"]
    console = CONFIGURATION["listen"]["console"].rpartition(":")[2]
    assert job["static_configs"][0]["targets"] == [f"{name}:{console}" for name in REPLICAS]
    assert CONFIGURATION["console"]["names"] == REPLICAS
    mounted = [volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]]
    assert all(f"/etc/prometheus/{name}" in mounted for name in prometheus["rule_files"])


def test_grafana_finds_the_dashboard_and_its_data():
    mounted = {volume.split(":")[0]: volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    (provider,) = READER.load((DEPLOY / "grafana/dashboards.yaml").read_text())["providers"]
    assert Path(mounted["../docs/grafana/wirekey.json"]).parent == Path(provider["options"]["path"])
    (source,) = READER.load((DEPLOY / "grafana/datasource.yaml").read_text())["datasources"]
    dashboard = json.loads((DEPLOY.parent / "docs/grafana/wirekey.json").read_text())
    (asked,) = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert source["type"] == asked["query"]


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_have_no_rights_a_folder_of_their_own_and_the_time_to_drain(name):
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    assert f"{name}:/data" in service["volumes"]
    timeouts = CONFIGURATION["timeouts"]
    assert int(service["stop_grace_period"].removesuffix("s")) > timeouts["drain_delay"] + timeouts["drain"]


def test_the_console_is_published_to_browsers_of_the_machine_only():
    console = CONFIGURATION["listen"]["console"].rpartition(":")[2]
    published = {
        name: service["ports"] for name, service in SERVICES.items() if "wirekey" in name and "ports" in service
    }
    assert published == {"wirekey1": [f"127.0.0.1:{console}:{console}"]}
    assert CONFIGURATION["console"].get("sign_in", "token") == "token", "it has to be signed in to"


# Three replicas.


class PasswordRedis(RedisServer):
    """Redis as its service starts it: the same command, on a port of this machine."""

    def __init__(self, folder: Path, password: str) -> None:
        self.password = password
        super().__init__(folder)

    def start(self) -> None:
        self.program = "sh"
        super().start()

    def arguments(self) -> list[str]:
        program, flag, text = SERVICES["redis"]["command"]
        assert (program, flag) == ("sh", "-c")
        text = text.replace("$$", "$").replace("redis-server -", f"redis-server - --port {self.port} --bind 127.0.0.1")
        return [flag, f"export REDIS_PASSWORD={self.password}; {text}"]


class Replicas:
    """Three replicas behind HAProxy. Each has the configuration in `deploy`, with addresses of this machine."""

    def __init__(self, folder: Path, variables: dict[str, str], stack: contextlib.ExitStack) -> None:
        simulator = SimulatorThread(folder / "simulator")
        stack.callback(simulator.stop)
        postgres = PostgresServer()
        stack.callback(postgres.remove)
        redis = PasswordRedis(folder, variables["REDIS_PASSWORD"])
        stack.callback(redis.stop)
        assert redis.ask("PING").startswith(b"-NOAUTH")
        self.database = postgres.new_database()
        self.environ = {
            **KEY_ENVIRONMENT,
            **PATIENT_WITH_REDIS,
            "WIREKEY_MASTER_KEY": variables["WIREKEY_MASTER_KEY"],
            "WIREKEY_DATABASE_URL": self.database.replace("wirekey@", f"wirekey:{variables['POSTGRES_PASSWORD']}@"),
            "WIREKEY_REDIS_URL": redis.url.replace("//", f"//:{redis.password}@"),
        }
        self.ca = authority.ensure(folder / "origin", [*provider_hosts(Config())], roots=[])
        self.all = []
        for name in REPLICAS:
            self.all.append(Wirekey(folder / name, self.configuration(folder / name, simulator), environ=self.environ))
            stack.callback(self.all[-1].stop, signal.SIGINT)
        self.balancer = Balancer(haproxy_program(), folder, self.all)
        stack.callback(self.balancer.stop)

    def configuration(self, folder: Path, simulator: SimulatorThread) -> dict:
        changed = json.loads(json.dumps(CONFIGURATION))
        changed["listen"] |= dict.fromkeys(("forward", "gateway", "console"), "127.0.0.1:0")
        changed["listen"]["proxy_protocol"] = ["127.0.0.1"]
        changed["timeouts"] = {"drain_delay": 0, "drain": 1}
        changed["audit"]["timeout"] = 30  # PostgreSQL and all replicas share a machine that may be busy
        changed["state"] = str(folder / "state")
        changed["certs"] = {"folder": str(folder / "certs"), "key": f"file:{self.ca.key_file}"}
        return behind(simulator, **changed)

    def command(self, replica: Wirekey, *words: str, given: bytes | None = None) -> str:
        """Run a command on the machine of a replica. `given`: its standard input."""
        file = str(replica.folder / "wirekey.yaml")
        done = CliRunner(env=self.environ).invoke(group, [*words, "--config", file], input=given)
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.output

    def status(self, replica: Wirekey, token: str) -> int:
        """Return the status of a call at the gateway of a replica."""
        with RawClient(replica.running.gateway) as client:
            client.send(HEADER + gateway_chat(token, "a-call"))
            return client.read_response().status

    def calls(self) -> list[tuple[int, str, str]]:
        with contextlib.closing(psycopg.connect(self.database)) as connection:
            return connection.execute("SELECT writer, agent_id, outcome FROM wirekey.calls").fetchall()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, variables):
    with contextlib.ExitStack() as stack:
        yield Replicas(tmp_path_factory.mktemp("fleet"), variables, stack)


def test_an_agent_that_is_added_anywhere_calls_through_each_replica_into_one_record(fleet):
    token = json.loads(fleet.command(fleet.all[0], "agents", "add", "alice", "--json"))["token"]
    wait_for(lambda: all(fleet.status(replica, token) == 200 for replica in fleet.all), "each replica to know alice")

    def each_has_written() -> bool:
        with RawClient(fleet.balancer.running.gateway) as client:
            client.send(gateway_chat(token, "balanced"))
            assert client.read_response().status == 200
        return len({writer for writer, *call in fleet.calls() if call == ["alice", "completed"]}) == 3

    wait_for(each_has_written, "a record of each replica")
    listed = fleet.command(fleet.all[2], "audit", "list", "--agent", "alice", "--json")
    assert len(json.loads(listed)) >= 3


def test_the_agents_of_a_single_process_move_with_their_tokens(fleet, tmp_path):
    """As in the guide: agents export | docker compose exec -T wirekey1 wirekey agents import -"""
    single = AgentStore(tmp_path / "agents.json")
    token = single.add("dave")
    assert "Added 1 agent" in fleet.command(fleet.all[0], "agents", "import", "-", given=single.export())
    wait_for(lambda: all(fleet.status(replica, token) == 200 for replica in fleet.all), "each replica to know dave")


def test_replicas_have_the_ca_of_the_mounted_file(fleet):
    assert {replica.root.read_bytes() for replica in fleet.all} == {fleet.ca.root_file.read_bytes()}


def test_an_agent_that_is_suspended_anywhere_is_refused_everywhere_also_in_open_connections(fleet):
    """The limit of two seconds is that of the intervals: this machine may be busy."""
    token = json.loads(fleet.command(fleet.all[0], "agents", "add", "bob", "--json"))["token"]
    wait_for(lambda: all(fleet.status(replica, token) == 200 for replica in fleet.all), "each replica to know bob")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(RawClient(replica.running.gateway)) for replica in fleet.all]
        for stream in streams:
            stream.send(HEADER + gateway_chat(token, "sim-stall-after-1", stream=True))
        wait_for(lambda: [call[1:] for call in fleet.calls() if call[2] is None] == [("bob", None)] * 3, "the streams")
        fleet.command(fleet.all[1], "agents", "set", "bob", "--suspended")
        for stream in streams:
            assert b"agent_revoked" in stream.read_response().body
    assert {fleet.status(replica, token) for replica in fleet.all} == {401}
    fleet.command(fleet.all[2], "agents", "set", "bob", "--no-suspended")
    wait_for(lambda: all(fleet.status(replica, token) == 200 for replica in fleet.all), "bob to be resumed")


def test_a_token_that_is_replaced_anywhere_is_refused_everywhere(fleet):
    old = json.loads(fleet.command(fleet.all[0], "agents", "add", "carol", "--json"))["token"]
    wait_for(lambda: all(fleet.status(replica, old) == 200 for replica in fleet.all), "each replica to know carol")
    new = json.loads(fleet.command(fleet.all[1], "agents", "rotate", "carol", "--json"))["token"]
    wait_for(lambda: all(fleet.status(replica, old) == 401 for replica in fleet.all), "the old token to be refused")
    assert {fleet.status(replica, new) for replica in fleet.all} == {200}


def test_a_browser_of_the_host_sees_the_sign_in_of_the_console(fleet):
    """It comes from the address of a bridge, which is another machine to the container."""
    for path, status in (("/", 200), ("/console/state", 401), ("/metrics", 403)):
        with RawClient(fleet.all[0].running.console) as client:
            client.send(HEADER + f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\n\r\n".encode())
            assert client.read_response().status == status, path


def test_no_password_is_in_a_log_or_a_command_line(fleet, variables):
    logs = [replica.output.read_text() for replica in fleet.all] + [fleet.balancer.output.read_text()]
    lines = [Path(f"/proc/{replica.process.pid}/cmdline").read_text() for replica in fleet.all]
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "WIREKEY_MASTER_KEY"):
        assert not [text for text in (*logs, *lines) if variables[name] in text], name
