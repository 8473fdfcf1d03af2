"""The files for containers and systemd: they are well-formed, and the commands in them run."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from tests.support.running import PATIENCE, Wirekey, bare_environment, log_of, wait_for
from wirekey.cli.main import group
from wirekey.config import Config
from wirekey.features.workers.supervisor import END_LIMIT
from wirekey.server.runtime import RunningProxy

CHECKOUT = Path(__file__).parents[2]
CONTAINERFILE = (CHECKOUT / "Containerfile").read_text()
UNIT = CHECKOUT / "deploy/systemd/wirekey.service"
PROGRAM = "/opt/wirekey/bin/wirekey"


def instructions(name):
    """The arguments of each such instruction, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", CONTAINERFILE)
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def compose():
    return YAML(typ="safe").load((CHECKOUT / "deploy/compose-single.yaml").read_text())["services"]["wirekey"]


def test_the_image_installs_only_what_a_hash_locks():
    installs = [part for run in instructions("RUN") for part in run.split("&&") if "pip install" in part]
    assert len(installs) == 3
    for install in installs:
        assert "--no-deps" in install
        assert "--require-hashes" in install or "--no-index" in install


def test_the_image_copies_files_that_exist():
    for words in map(shlex.split, instructions("COPY")):
        if not words[0].startswith("--from"):
            assert all((CHECKOUT / word).exists() for word in words[:-1]), words


def test_the_image_has_what_a_wheel_is_built_of(tmp_path):
    pytest.importorskip("hatchling")
    for words in map(shlex.split, instructions("COPY")):
        for word in () if words[0].startswith("--from") else words[:-1]:
            source, place = CHECKOUT / word, tmp_path / words[-1]
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                place.mkdir(exist_ok=True)
                shutil.copy(source, place)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built"]
    assert subprocess.run(build, cwd=tmp_path, capture_output=True).returncode == 0
    assert list((tmp_path / "built").glob("wirekey-*.whl"))


def test_the_image_runs_without_root():
    assert instructions("USER") == [compose()["user"]]
    assert not instructions("USER")[0].startswith(("0", "root"))


@pytest.mark.parametrize(
    "command",
    [
        [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0])],
        shlex.split(unit()["Service"]["ExecStart"]),
        shlex.split(unit()["Service"]["ExecStartPre"]),
    ],
)
def test_the_commands_exist(command):
    program, *words = command
    assert program in ("wirekey", PROGRAM)
    assert CliRunner().invoke(group, [*words, "--help"]).exit_code == 0


def test_the_health_check_succeeds_while_wirekey_is_ready(tmp_path):
    check = json.loads(instructions("HEALTHCHECK")[0].partition(" CMD ")[2])
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
    proxy = Wirekey(tmp_path / "wirekey", {"listen": listen}, "--simulator")
    place = str(proxy.running.console)

    def health():
        command = [sys.executable, *(word.replace("127.0.0.1:8090", place) for word in check[1:])]
        return subprocess.run(command, env=bare_environment(), capture_output=True).returncode

    assert "127.0.0.1:8090" in check[-1]
    try:
        assert health() == 0
    finally:
        proxy.stop()
    assert health() != 0


def test_compose_keeps_the_root_file_system_read_only_and_the_ports_on_loopback():
    service = compose()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    exposed = instructions("EXPOSE")[0].split()
    assert [port.rpartition(":")[2] for port in service["ports"]] == exposed
    assert (CHECKOUT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).exists()


def test_wirekey_runs_with_a_read_only_root_file_system(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    listen = dict.fromkeys(("forward", "gateway", "console"), "127.0.0.1:0")
    (data / "wirekey.yaml").write_text(json.dumps({"listen": listen}))
    mounts = f"mount --bind {data} {data} && mount -o remount,bind,ro / && cd {data}"
    apart = ["unshare", "--mount", "sh", "-c"]
    probe = subprocess.run([*apart, f"{mounts} && ! touch {tmp_path}/x 2>/dev/null && touch x"], capture_output=True)
    if probe.returncode:
        pytest.skip("Only root can make a file system read-only.")
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*apart, f"{mounts} && exec {sys.executable} -m wirekey serve --simulator"],
            env=bare_environment() | {"PYTHONPATH": str(CHECKOUT / "addons"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    log_of(output, process)

    def listening():
        assert process.poll() is None, output.read_text()
        return RunningProxy.read(data / "state")

    try:
        assert wait_for(listening, "wirekey serve to listen", 2 * PATIENCE)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, output.read_text()


def test_systemd_accepts_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    program = tmp_path / "wirekey"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    changed = tmp_path / "wirekey.service"
    changed.write_text(UNIT.read_text().replace(PROGRAM, str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(changed)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_goes_on_trying_reloads_and_waits_for_the_drain():
    read = unit()
    service, timeouts = read["Service"], Config().timeouts
    assert (service["ExecReload"], service["Restart"]) == ("/bin/kill -HUP $MAINPID", "on-failure")
    assert read["Unit"]["StartLimitIntervalSec"] == "0"
    assert int(service["RestartSec"]) >= 1
    guide = (CHECKOUT / "docs/guides/fleet.md").read_text()
    shown = [sum(map(int, found)) for found in re.findall(r"drain_delay: (\d+), drain: (\d+)", guide)]
    for drained in (timeouts.drain_delay + timeouts.drain, *shown):
        assert int(service["TimeoutStopSec"]) >= drained + END_LIMIT


def test_the_unit_gives_wirekey_no_rights_and_one_folder():
    service = unit()["Service"]
    assert (service["User"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("wirekey", "true", "")
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert (service["ProtectSystem"], service["LimitCORE"]) == ("strict", "0")


def test_no_secret_is_copied_into_the_image():
    ignored = (CHECKOUT / ".containerignore").read_text()
    assert ignored == (CHECKOUT / ".dockerignore").read_text()
    assert {".env", "certs", "state", "wirekey.yaml", ".git"} <= set(ignored.split())
    assert os.environ.get("HOME", "/") not in CONTAINERFILE
