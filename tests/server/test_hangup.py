"""SIGHUP to a process without workers has it read its configuration again, as `systemctl reload` asks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from tests.support.running import PATIENCE, bare_environment, wait_for
from wirekey.server.runtime import RunningProxy

LISTEN = {"forward": "127.0.0.1:0", "gateway": None, "console": None}


def test_sighup_has_the_configuration_read_again_and_ends_nothing(tmp_path):
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"listen": LISTEN, "log": {"format": "json"}}))
    said = tmp_path / "output.txt"
    command = [sys.executable, "-m", "wirekey", "serve", "--simulator", "--config", "wirekey.yaml"]
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=bare_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: RunningProxy.read(tmp_path / "state"), "wirekey serve to listen")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "The changed configuration is in use" in said.read_text(), "the configuration to be read")
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, said.read_text()
