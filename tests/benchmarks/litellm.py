"""LiteLLM's proxy, in an environment of its own with exactly the packages of litellm.lock.

The environment is made when a benchmark first needs it, and again when the lock changes. To make the lock:
uv pip compile --generate-hashes --no-annotate --no-header --python-version 3.11 litellm.in -o litellm.lock
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import proxies

LOCK = Path(__file__).with_name("litellm.lock")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
FOLDER = CACHE / "wirekey-litellm"
PROGRAM = FOLDER / "bin" / "litellm"
PYTHONS = ("python3.11", "python3.12", "python3.13")
KEY = "sk-litellm"
"""The master key, which is the token of all clients."""
ENVIRON = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "DISABLE_ADMIN_UI": "True"}


def install() -> Path:
    """Return the program, after installing what the lock lists if it is not there yet."""
    stamp, wanted = FOLDER / "stamp", str(zlib.crc32(LOCK.read_bytes()))
    if PROGRAM.exists() and stamp.exists() and stamp.read_text() == wanted:
        return PROGRAM
    python = next((found for name in PYTHONS if (found := shutil.which(name))), sys.executable)
    print(f"installing LiteLLM's proxy in {FOLDER}", file=sys.stderr)
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([python, "-m", "venv", FOLDER], check=True)
    options = ["-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", LOCK]
    subprocess.run([FOLDER / "bin" / "python", "-m", "pip", "install", *options], check=True)
    stamp.write_text(wanted)
    return PROGRAM


@contextlib.contextmanager
def running(
    folder: Path, configuration: dict, environ: dict[str, str], arguments: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Run the proxy with one worker, as its documentation says. Yields its process and its port."""
    program = install()
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(configuration))
    port = proxies.free_port()
    command = [str(program), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    with proxies.process([*command, "--num_workers", "1", *arguments], folder, ENVIRON | environ) as process:
        try:
            proxies.wait_for_port(port, seconds=180)
        except RuntimeError:
            printed = (folder / "output.txt").read_text(errors="replace").splitlines()
            raise SystemExit(f"LiteLLM's proxy did not start: {printed[-1] if printed else 'no output'}") from None
        yield process.pid, port
