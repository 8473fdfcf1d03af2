#!/usr/bin/env bash
# Wirekey from a bare checkout: finds a Python, keeps .venv in step with the lock file, starts the program.
#   ./run.sh            serve            ./run.sh test [pytest arguments]
#   ./run.sh demo       a whole round    ./run.sh WORD …   the wirekey command: ./run.sh agents add alice
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf 'wirekey: %s\n' "$*" >&2; }

fit() { "$1" -c 'import sys, ssl, venv, sqlite3; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

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
        say "no Python 3.12 or later found; asking uv for one"
        uv python install 3.13 >&2 && name=$(uv python find 3.13) && { echo "$name"; return; }
    fi
    say "Python 3.12 or later is needed and none was found on PATH, under pyenv or under uv."
    say "Install one:  apt install python3.13 python3.13-venv  |  brew install python@3.13  |  pyenv install 3.13  |  uv python install 3.13"
    say "or name it:   WIREKEY_PYTHON=/path/to/python3 ./run.sh"
    return 1
}

# install LOCK: brings .venv to exactly what LOCK says; a stamp of the lock's content makes it a no-op afterwards.
install() {
    local lock=$1 want
    [ -x .venv/bin/python ] && fit .venv/bin/python || { rm -rf .venv; make_venv; }
    want=$(cat requirements.lock "$lock" pyproject.toml | cksum)
    [ "$(cat ".venv/$lock.stamp" 2>/dev/null)" = "$want" ] && return
    say "installing $lock (once; again only when the lock changes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$lock"
    # The package itself runs from this checkout: a .pth file, so nothing is built and nothing else is fetched.
    .venv/bin/python - <<'PY'
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
(site / "wirekey-checkout.pth").write_text(str(pathlib.Path("addons").resolve()) + "\n")
script = pathlib.Path(sysconfig.get_path("scripts")) / "wirekey"
script.write_text(f"#!{pathlib.Path('.venv/bin/python').absolute()}\nfrom wirekey.cli.main import main\n\nmain()\n")
script.chmod(0o755)
PY
    echo "$want" >".venv/$lock.stamp"
}

make_venv() {
    local python
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv
}

case "${1:-serve}" in
    test)
        shift
        install requirements-test.lock
        exec .venv/bin/python -m pytest "$@"
        ;;
    demo)
        install requirements-test.lock
        exec .venv/bin/wirekey "$@"
        ;;
    *)
        [ "$(cat .venv/requirements-test.lock.stamp 2>/dev/null)" = "$(cat requirements.lock requirements-test.lock pyproject.toml | cksum)" ] \
            || install requirements.lock
        [ $# -gt 0 ] || set -- serve
        exec .venv/bin/wirekey "$@"
        ;;
esac
