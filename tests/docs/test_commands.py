"""The commands in README and docs/ print what the pages show.

They share a copy of the checkout, with a server whose providers are the simulator, so agents have other names on each
page. A line of output in a page must be among the lines that were really printed, numbers, times, ids and tokens aside;
`…` stands for any text.
`run.sh` of the copy is the Python that runs the tests, so that nothing is installed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.docs.pages import CHECKOUT, Block, blocks_of, page_names
from tests.support.running import PATIENCE, bare_environment, log_of, wait_for
from wirekey.cli.banner import simulation
from wirekey.server.runtime import RunningProxy

RUN = [
    block
    for page in page_names()
    for block in blocks_of(page)
    if (block.has_commands and "not run" not in block.about) or {"file", "shows"} & set(block.about)
]
COPIED = ("addons", "deploy", "docs", "policies", "README.md", "wirekey.example.yaml", "pyproject.toml")
SHOWN_FOLDER = "/srv/wirekey"
"""The folder of the checkout in the pages."""
SERVICES = SimpleNamespace(settings=SimpleNamespace(simulated=True))
FIRST_LOOK = "\n".join(["", *simulation(SimpleNamespace(services=SERVICES, simulator_wanted=None))])
"""The part of the start message that appears only without `--simulator`, which the tests use."""


class Copy:
    """A copy of the checkout in which `./run.sh` works, with a server whose providers are the simulator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        run = folder / "run.sh"
        called_from = 'export WIREKEY_CALLED_FROM="$PWD"'
        run.write_text(f'#!/bin/sh\n{called_from}\ncd "$(dirname "$0")"\nexec "{sys.executable}" -m wirekey "$@"\n')
        run.chmod(0o755)
        self.environment = bare_environment() | {
            "PYTHONPATH": str(folder / "addons"),
            "COLUMNS": "200",
            "LOGNAME": "ada",
        }
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.environment['PATH']}"
        listen = dict.fromkeys(["forward", "gateway", "console"], "127.0.0.1:0")
        (folder / "served.yaml").write_text(json.dumps({"listen": listen}))
        self.served = folder / "served.txt"
        with self.served.open("wb") as output:
            self.server = subprocess.Popen(
                ["./run.sh", "serve", "--simulator", "--config", "served.yaml"],
                cwd=folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        log_of(self.served, self.server)
        wait_for(self.listens, "the server of the pages to listen")

    def listens(self) -> bool:
        assert self.server.poll() is None, self.served.read_text()
        return RunningProxy.read(self.folder / "state") is not None and "audit tail" in self.served.read_text()

    def run(self, script: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE * 2,
        )
        return done.returncode, done.stdout.decode(errors="replace").replace(str(self.folder), SHOWN_FOLDER)

    def stop(self) -> None:
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(PATIENCE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    made = Copy(tmp_path_factory.mktemp("docs") / "wirekey")
    yield made
    made.stop()


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Return (command, its output lines) of a block. A command continues after a backslash and in lines `> `."""
    if block.language != "console":
        return [("set -e\n" + block.text, [])]
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
        elif line.strip():
            found[-1][1].append(line)
    return found


ASIDE = [
    (re.compile(r"wk_[A-Za-z0-9]{8,}"), "wk_0"),
    (re.compile(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}"), "FINGERPRINT"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
]


def plain(line: str) -> str:
    for pattern, instead in ASIDE:
        line = pattern.sub(instead, line)
    return line.strip()


def missing(shown: list[str], printed: str) -> list[str]:
    """Return the lines of a page that were not printed."""
    lines = [plain(line) for line in printed.splitlines()]
    return [
        line
        for line in shown
        if not any(re.fullmatch(re.escape(plain(line)).replace("…", ".*"), candidate) for candidate in lines)
    ]


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_the_commands_print_what_the_pages_show(block, copy):
    for program in block.about.get("needs", "").split():
        if not shutil.which(program):
            pytest.skip(f"there is no {program} on this machine")
    if file := block.about.get("file"):
        (copy.folder / file).write_text(block.text)
        return
    if "shows" in block.about:
        printed = copy.served.read_text().replace(str(copy.folder), SHOWN_FOLDER) + FIRST_LOOK
        shown = [line for line in block.text.splitlines() if line.strip() and not line.startswith("$ ")]
        assert not missing(shown, printed), printed
        return
    steps = commands(block)
    for number, (command, shown) in enumerate(steps, 1):
        code, printed = copy.run(command)
        expected = int(block.about.get("exit", 0)) if number == len(steps) else 0
        assert code == expected, f"{command}\n{printed}"
        assert not missing(shown, printed), f"{command} printed:\n{printed}"


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("listens on 127.0.0.1:8080", "listens on 127.0.0.1:41234", True),
        ("  a   b", "a b", True),
        ("token wk_dePRtMC0y5Lcj", "token wk_Zx81mmmmmmmm", True),
        ("root …", "root something else", True),
        ("denied", "completed", False),
        ("one line", "one line more", False),
    ],
)
def test_a_shown_line_matches_a_printed_line_apart_from_changing_values(shown, printed, fits):
    assert (not missing([shown], printed)) is fits
