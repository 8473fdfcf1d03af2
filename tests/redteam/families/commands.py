"""Arguments and files of commands: names that a program chose, links, modes, and what `exec` gives to a program."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.redteam.ground import Ground
from tests.redteam.technique import Technique
from tests.support.capabilities import without_ptrace
from tests.support.running import KEY_ENVIRONMENT
from tests.support.serving import wirekey


def said(folder: Path, *arguments: str, environ: dict[str, str] | None = None, **more: object) -> str:
    """Return the exit code and the output of a command, or that it has a control character."""
    ended = wirekey(folder, *arguments, environ=environ, **more)
    output = ended.stdout + ended.stderr
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in output):
        return f"exit 0 with control characters\r\n{output}"
    lines = ended.stderr.strip().splitlines() or [""]
    line = lines[-1].partition(":")[0] if lines[0].startswith("Traceback") else lines[0][:60]
    return f"exit {ended.returncode}: {line}\r\n{output}"


def add(name: str) -> Technique:
    """Add an agent whose name a program chose."""
    return Technique(
        "arguments",
        f"agents add {name[:40]!r}",
        lambda ground: said(ground.proxy.folder, "agents", "add", name),
        refused=True,
    )


def command(tried: str, *arguments: str, refused: bool = True) -> Technique:
    return Technique("arguments", tried, lambda ground: said(ground.proxy.folder, *arguments), refused=refused)


def in_copy(tried: str, change: Callable[[Path], None], *arguments: str) -> Technique:
    """Run a command in a folder with a changed copy of the configuration."""

    def attack(ground: Ground) -> str:
        with tempfile.TemporaryDirectory(dir=ground.proxy.folder.parent) as name:
            folder = Path(name)
            shutil.copy(ground.proxy.folder / "wirekey.yaml", folder)
            change(folder)
            return said(folder, *arguments, environ=KEY_ENVIRONMENT)

    return Technique("modes", tried, attack, refused=True)


def executed(tried: str, script: str, *options: str, **more: object) -> Technique:
    """Run a program by `exec`, as the operator whose environment has the keys."""

    def attack(ground: Ground) -> str:
        arguments = ("exec", "--agent", "bob", *options, "--", sys.executable, "-c", script)
        return said(ground.proxy.folder, *arguments, environ=KEY_ENVIRONMENT, **more)

    return Technique("environment", tried, attack)


def reads_parent(name: str, *, as_root: bool = False) -> Technique:
    """Read a file of the process of `exec`, as root with all its rights, or with those that it has in a container."""
    # A process that is forked would have the environment of the one that forked it.
    more = {"stdin": subprocess.DEVNULL} if as_root else {"preexec_fn": without_ptrace}
    found = executed(f"a program reads {name} of exec{', as root' * as_root}", PARENT.format(name=name), **more)
    return replace(found, known=SAME_USER) if as_root else found


NAMES = (
    "\x1b[31mred",
    "a\nb",
    "a\rb",
    "a\0b"[:1] + "\x07",
    "../../etc/cron.d/x",
    "--config=/etc/passwd",
    "",
    " ",
    "alice:bob",
    "alice@evil",
    "wk_" + "a" * 43,
    "x" * 5000,
    "a b",
    "a/b",
    "a\\b",
    "\u202eecila",
    "alice",
    "al\u0456ce",
    "%61lice",
    "alice\u200b",
    "'; DROP TABLE agents; --",
    "{{7*7}}",
    "$(id)",
    "`id`",
)
SAME_USER = "Root on the machine, or another process of the same user"
PARENT = "import os; print(open(f'/proc/{{os.getppid()}}/{name}', 'rb').read(100_000).split(bytes(1)))"
MEMORY = """
for line in open('/proc/self/maps'):
    first, last = (int(each, 16) for each in line.split()[0].split('-'))
    if 'stack' in line:
        memory = open('/proc/self/mem', 'rb')
        memory.seek(first)
        print(memory.read(last - first))
"""
OPEN_FILES = """
import os
for name in os.listdir('/proc/self/fd'):
    try:
        print(os.readlink(f'/proc/self/fd/{name}'), os.pread(int(name), 9999, 0))
    except OSError as error:
        print(error)
"""
NAMED_FILES = """
import os
for value in os.environ.values():
    if os.path.isfile(value):
        print(value, open(value, errors='replace').read()[-2000:])
"""
SCRIPTS = (
    ("its environment", "import os; print(dict(os.environ))"),
    ("/proc/self/environ", "print(open('/proc/self/environ').read().split(chr(0)))"),
    ("the environment of a child", "import subprocess; print(subprocess.check_output(['env']))"),
    ("its memory", MEMORY),
    ("its open files", OPEN_FILES),
    ("its arguments", "print(open('/proc/self/cmdline').read().split(chr(0)))"),
    ("the arguments of its parent", "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0)))"),
    ("files that its environment names", NAMED_FILES),
)
SETTINGS = (
    ("--keep of a configured key", ("--keep", "REAL_OPENAI")),
    ("--keep of all", ("--keep", "*")),
    ("--gateway", ("--gateway",)),
    ("--strict", ("--strict",)),
)


def link(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        place = folder / name
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    return change


def mode(name: str, bits: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        place = folder / name
        if not place.exists():
            place.write_text("")
        place.chmod(bits)

    return change


CHANGES: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("a configuration that all may write", mode("wirekey.yaml", 0o666)),
    ("a configuration that a group may write", mode("wirekey.yaml", 0o660)),
    ("a folder that all may write", lambda folder: folder.chmod(0o777)),
    ("an .env that all may write", mode(".env", 0o666)),
    (
        "a configuration that is a folder",
        lambda folder: ((folder / "wirekey.yaml").unlink(), (folder / "wirekey.yaml").mkdir()),
    ),
    ("a configuration that is a device", link("wirekey.yaml", "/dev/zero")),
    ("a configuration that links to itself", link("wirekey.yaml", "wirekey.yaml")),
    ("a configuration that is another file", link("wirekey.yaml", "/etc/passwd")),
    ("a configuration that is a socket", link("wirekey.yaml", "/dev/stdin")),
)
OPTIONS = (
    ("agents show of a path", ("agents", "show", "../alice")),
    ("agents show of an option", ("agents", "show", "--config=/etc/passwd")),
    ("agents add with a label of control characters", ("agents", "add", "l1", "--label", "team=\x1b[31m")),
    ("agents add with a label without a name", ("agents", "add", "l2", "--label", "=x")),
    ("agents add with a role of control characters", ("agents", "add", "l3", "--role", "a\x1b[31m")),
    ("agents import of a device", ("agents", "import", "/dev/zero")),
    ("agents import of the configuration", ("agents", "import", "wirekey.yaml")),
    ("audit list with SQL", ("audit", "list", "--agent", "' OR 1=1 --", "--limit", "-1")),
    ("config check of /etc/passwd", ("config", "check", "--config", "/etc/passwd")),
    ("config check of /proc/self/environ", ("config", "check", "--config", "/proc/self/environ")),
    ("config check of a URL", ("config", "check", "--config", "http://127.0.0.1:1/")),
    ("policy check of a file that is none", ("policy", "check", "/etc/passwd")),
    ("exec without a program", ("exec", "--agent", "bob")),
    ("exec of an option", ("exec", "--agent", "bob", "--config")),
    ("exec as a revoked agent", ("exec", "--agent", "carol", "--", "true")),
    ("exec with a run of control characters", ("exec", "--agent", "bob", "--run", "a\x1b[31m", "--", "true")),
    ("a command that does not exist", ("../../bin/sh",)),
)
TECHNIQUES = [
    *map(add, NAMES),
    *(command(tried, *arguments) for tried, arguments in OPTIONS),
    command("config show, for a key", "config", "show", refused=False),
    command("env, for a key", "env", "--agent", "bob", refused=False),
    command("agents list, for a key", "agents", "list", "--json", refused=False),
    command("doctor, for a key", "doctor", "--only", "files", refused=False),
    *(in_copy(f"config check with {tried}", change, "config", "check") for tried, change in CHANGES),
    *(executed(f"a program prints {tried}", script) for tried, script in SCRIPTS),
    *(executed(f"a program run with {tried}", SCRIPTS[0][1], *options) for tried, options in SETTINGS),
    *map(reads_parent, ("environ", "mem", "maps", "auxv", "fd/0", "root", "stack")),
    reads_parent("environ", as_root=True),
]
