#!/usr/bin/env bash
# Run Wirekey from a bare checkout: find a Python, keep .venv in step with the lock file, start the program.
#   ./run.sh            serve            ./run.sh test                     all tests
#   ./run.sh demo       a demonstration  ./run.sh test core                tests of packages that need no server
#   ./run.sh WORD …     the command      ./run.sh test [pytest arguments]  some of them
set -euo pipefail
export WIREKEY_CALLED_FROM=$PWD  # where `exec` runs its program
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf 'wirekey: %s\n' "$*" >&2; }

# Debian's python3 has no ensurepip without its -venv package.
fit() { "$1" -c 'import sys, ssl, venv, ensurepip, sqlite3; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

find_python() {
    local name folder
    if [ -n "${WIREKEY_PYTHON:-}" ]; then
        fit "$WIREKEY_PYTHON" && { echo "$WIREKEY_PYTHON"; return; }
        say "WIREKEY_PYTHON=$WIREKEY_PYTHON is not a Python 3.12 or later"; return 1
    fi
    for name in python3.13 python3.12 python3.14 python3 python; do
        name=$(command -v "$name" 2>/dev/null) && fit "$name" && { echo "$name"; return; }
    done
    for folder in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}/versions" \
                  "${UV_PYTHON_INSTALL_DIR:-${HOME:-/nonexistent}/.local/share/uv/python}" \
                  /opt/homebrew/opt /usr/local/opt; do
        for name in "$folder"/*3.13*/bin/python3 "$folder"/*3.12*/bin/python3 "$folder"/*3.14*/bin/python3 \
                    "$folder"/python@3.1[2-9]/bin/python3.1[2-9]; do
            [ -x "$name" ] && fit "$name" && { echo "$name"; return; }
        done
    done
    if command -v uv >/dev/null 2>&1; then
        name=$(uv python find '>=3.12' 2>/dev/null) && fit "$name" && { echo "$name"; return; }
        say "no Python 3.12 or later found; installing one with uv"
        uv python install 3.13 >&2 && name=$(uv python find 3.13) && { echo "$name"; return; }
    fi
    say "Wirekey needs Python 3.12 or later, and found none on PATH, under pyenv or under uv."
    say "Install one:  apt install python3.13 python3.13-venv  |  brew install python@3.13  |  pyenv install 3.13  |  uv python install 3.13"
    say "or name it:   WIREKEY_PYTHON=/path/to/python3 ./run.sh"
    return 1
}

# stamp LOCK: a checksum of what .venv depends on. It includes the folder, because .venv cannot be moved.
stamp() { { pwd; cat requirements.lock "$1" pyproject.toml; } | cksum; }

in_step() { [ -x .venv/bin/python ] && [ "$(cat ".venv/$1.stamp" 2>/dev/null)" = "$(stamp "$1")" ]; }

# install LOCK: install exactly what LOCK lists, unless nothing has changed since the last time.
install() {
    local lock=$1
    in_step "$lock" && return
    [ -x .venv/bin/python ] && fit .venv/bin/python || make_venv
    say "installing $lock (once; again only when the lock changes)"
    # Errors only: pip prints a long warning for each package that one of several indexes lacks.
    .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r "$lock" || {
        say "Installing the packages of $lock failed. See the output of pip above."
        say "If this machine has no network: set your proxy (HTTPS_PROXY) or your package index (PIP_INDEX_URL),"
        say "or fill a folder on another machine:  pip download --require-hashes --no-deps -r $lock -d FOLDER"
        say "and install from it:                  PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER ./run.sh"
        say "Then run the same command again."
        return 1
    }
    # A .pth file runs the package from this checkout, so nothing is built and nothing else is downloaded.
    .venv/bin/python - <<'PY'
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
(site / "wirekey-checkout.pth").write_text(str(pathlib.Path("addons").resolve()) + "\n")
script = pathlib.Path(sysconfig.get_path("scripts")) / "wirekey"
# Started by sh, because a first line cannot hold a path with a space.
python = str(pathlib.Path(".venv/bin/python").absolute()).replace("'", "'\\''")
script.write_text(f"#!/bin/sh\nexec '{python}' -m wirekey \"$@\"\n")
script.chmod(0o755)
PY
    stamp "$lock" >".venv/$lock.stamp"
}

make_venv() {
    local python
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
}

# Four workers for two processors, each with servers of its own: a worker needs half of a processor, because tests often
# wait. The core's tests wait less, so that three do. The tests of one file stay together, as they share the servers.
# tests/conftest.py has the exceptions, and starts with the longest files, so that all workers end together.
PARALLEL="--dist loadfile --no-loadscope-reorder"
workers() { echo "${WIREKEY_TEST_WORKERS:-$1}"; }
DURATIONS="--durations=25 --durations-min=3"
# The folders of the core's tests, which pass without any feature. Tests are left out if they start servers, compare
# thousands of policies, edit thousands of requests or measure memory.
CORE=@tests/core.txt

# Tests marked `alone` load the machine themselves, or measure what a process needs. They run after the others, two at a
# time, because one waits most of its time. They stand in these folders only, because collecting all tests again takes
# long.
ALONE=(tests/endurance tests/features/postgresql tests/features/workers)

test_all() {
    local failed=0
    .venv/bin/python -m pytest -n "$(workers 4)" $PARALLEL $DURATIONS -m "not alone" || failed=1
    .venv/bin/python -m pytest "${ALONE[@]}" -n 2 $PARALLEL $DURATIONS -m alone || failed=1
    return $failed
}

case "${1:-serve}" in
    test)
        shift
        install requirements-test.lock
        case "${1:-all}" in
            all) test_all ;;
            core) shift; exec .venv/bin/python -m pytest -n "$(workers 3)" $PARALLEL "$CORE" "$@" ;;
            *) exec .venv/bin/python -m pytest "$@" ;;
        esac
        ;;
    demo)
        install requirements-test.lock
        exec .venv/bin/python -m wirekey "$@"
        ;;
    *)
        # The test requirements include those for serving.
        in_step requirements-test.lock || install requirements.lock
        [ $# -gt 0 ] || set -- serve
        exec .venv/bin/python -m wirekey "$@"
        ;;
esac
