"""The folder in which `exec` runs a program, and its exit codes."""

import os
import subprocess
import sys

import pytest

from tests.support.running import bare_environment
from wirekey.core.command_name import CALLED_FROM
from wirekey.server.runtime import RunningProxy


@pytest.fixture
def execute(tmp_path):
    """Run `wirekey exec` in a temporary checkout, as run.sh does, from the folder `elsewhere`."""
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    (checkout / "state").mkdir(parents=True)
    elsewhere.mkdir()
    RunningProxy(os.getpid(), "127.0.0.1:1", simulated=False).write(checkout / "state")

    def run(*program, called_from=elsewhere):
        environment = bare_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-m", "wirekey", "exec", "--", *program],
            cwd=checkout,
            env=environment | ({CALLED_FROM: str(called_from)} if called_from else {}),
            capture_output=True,
            text=True,
        )

    run.checkout, run.elsewhere = checkout, elsewhere
    return run


PRINT_FOLDER = (
    "import os; print(os.getcwd()); print(sorted(name for name in os.environ if name.startswith('WIREKEY_')))"
)


def test_a_program_runs_in_the_folder_from_which_run_sh_was_called(execute):
    done = execute(sys.executable, "-c", PRINT_FOLDER)
    assert done.stdout.splitlines() == [str(execute.elsewhere), "[]"]


def test_without_run_sh_a_program_runs_in_the_current_folder(execute):
    done = execute(sys.executable, "-c", PRINT_FOLDER, called_from=None)
    assert done.stdout.splitlines() == [str(execute.checkout), "[]"]


def test_a_relative_path_of_a_program_is_relative_to_that_folder(execute):
    program = execute.elsewhere / "mine"
    program.write_text("#!/bin/sh\necho mine: $PWD\n")
    program.chmod(0o755)
    assert execute("./mine").stdout == f"mine: {execute.elsewhere}\n"


PRINT_IMPORTED = (
    "print(sorted(sys.modules)); from wirekey.config.routes import RouteConfig; "
    "from wirekey.providers.openai.requests import ROUTES; "
    "print('built:', RouteConfig.__pydantic_complete__, len(ROUTES.compiled))"
)
"""A group of settings has no validator of its own, and a path no pattern, until one is used."""


def test_a_program_starts_without_importing_the_proxy(execute):
    script = f"import runpy, sys\ntry: runpy.run_module('wirekey', alter_sys=True)\nfinally: {PRINT_IMPORTED}"
    environment = bare_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, "exec", "--", "true"]
    done = subprocess.run(command, cwd=execute.checkout, env=environment, capture_output=True, text=True, check=True)
    assert "'wirekey.cli.exec'" in done.stdout
    assert not any(f"'{name}'" in done.stdout for name in ("mitmproxy", "tornado", "jwt"))
    assert done.stdout.endswith("built: False 0\n")


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-program"])
def test_a_missing_program_is_named_and_exits_with_127(execute, name):
    done = execute(name)
    assert done.returncode == 127
    assert "no-such-program: no such program" in done.stderr


def test_the_exit_code_is_that_of_the_program(execute):
    assert execute(sys.executable, "-c", "raise SystemExit(7)").returncode == 7
