"""An application that starts Wirekey: the program of docs/guides/extending.md with the real FastAPI and uvicorn."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.docs.pages import blocks_of
from tests.support.conversation import programs_python
from tests.support.ports import free_port
from tests.support.running import PATIENCE, bare_environment, wait_for
from wirekey.server.runtime import RunningProxy

PAGE = "docs/guides/extending.md"
FILES = ("beside.py", "service.py")
SERVE = """
import sys
sys.path += sys.argv[2:]     # after the packages of this Python, which has Wirekey
import uvicorn
uvicorn.run("service:app", port=int(sys.argv[1]))
"""


def test_an_application_starts_wirekey_and_ends_it(tmp_path):
    python = programs_python()
    where = subprocess.run(
        [python, "-c", "import fastapi; print(fastapi.__path__[0])"], capture_output=True, text=True, check=True
    )
    for block in blocks_of(PAGE):
        if (name := block.about.get("file")) in FILES:
            (tmp_path / name).write_text(block.text)
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"listen": listen}))
    said, port = tmp_path / "output.txt", free_port()
    environ = bare_environment() | {"OPENAI_API_KEY": "sk-none"}
    with said.open("wb") as output:
        command = [sys.executable, "-c", SERVE, str(port), str(Path(where.stdout.strip()).parent)]
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:

        def responds() -> bool:
            assert process.poll() is None, said.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).json() == {"hello": "world"}
            except httpx.TransportError:
                return False

        wait_for(responds, "the application")
        running = wait_for(lambda: RunningProxy.read(tmp_path / "state"), "Wirekey")
        ready = httpx.get(f"http://{running.gateway}/ready", trust_env=False, timeout=PATIENCE)
        assert ready.status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert RunningProxy.read(tmp_path / "state") is None, said.read_text()
