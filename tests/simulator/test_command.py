"""`wirekey simulator`, as a process of its own."""

import signal
import socket
import ssl
import subprocess
import sys

import httpx

from tests.support.running import bare_environment

COMMAND = [sys.executable, "-m", "wirekey", "simulator"]


def test_it_prints_its_url_and_root_and_ends_at_ctrl_c(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--certificates", tmp_path], stdout=subprocess.PIPE, text=True, env=bare_environment()
    )
    try:
        url = process.stdout.readline().split()[-1]
        ca = process.stdout.readline().removeprefix("Make clients trust ").partition(",")[0]
        context = ssl.create_default_context(cafile=ca)
        response = httpx.get(
            f"{url}/v1/models", verify=context, headers={"authorization": "Bearer any"}, trust_env=False
        )
        assert response.status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait(60)


def test_a_port_in_use_is_explained(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port), "--certificates", tmp_path],
            capture_output=True,
            text=True,
            env=bare_environment(),
            timeout=90,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Try --port 0." in done.stderr
