"""The wheel contains everything: installed in an empty environment, the demo, the proxy and `exec` work.

`.ci/run` downloads the locked packages for each Python that it finds, so that these tests need no network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.support.running import PATIENCE, bare_environment, log_of, wait_for
from wirekey.server.runtime import RunningProxy

CHECKOUT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
VERSIONS = ("3.12", "3.13")
FOUND = [version for version in VERSIONS if (CACHE / f"wirekey-wheels-{version}" / "python").exists()]
CALL = """
import os, openai
reply = openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}])
print(reply.choices[0].message.content)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=CHECKOUT)
    (built,) = folder.glob("*.whl")
    return built


def without_checkout():
    return {name: value for name, value in bare_environment().items() if name != "PYTHONPATH"}


def run(command, cwd, **environment):
    """Return the output of a command. Raises AssertionError if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=without_checkout() | environment, capture_output=True, text=True, timeout=4 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_contains_every_file_of_the_packages_and_the_default_policy(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    names = ("wirekey", "wirekey_rego", "wirekey_simulator")
    sources = {f"addons/{name}": name for name in names}
    for source, place in (sources | {"policies": "wirekey/shipped_policies"}).items():
        folder = CHECKOUT / source
        files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files
        assert {f"{place}/{path.relative_to(folder)}" for path in files} <= packed


def test_a_copy_of_the_source_gives_the_same_bytes(wheel, tmp_path):
    """In another folder, by another user's umask, at another time and in another time zone."""
    source = tmp_path / "source"
    shutil.copytree(CHECKOUT / "addons", source / "addons", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "policies", source / "policies")
    for name in ("LICENSE", "README.md", "deploy/sbom.py", "pyproject.toml", "requirements.lock"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(CHECKOUT / name, source / name)
    for path in source.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if path.is_dir() else 0o600)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    run(["sh", "-c", 'umask 077; exec "$@"', "sh", *build], cwd=source, TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_has_a_bill_of_materials_with_each_locked_package(wheel, record_property):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        bill = json.loads(archive.read(name))
    lock = (CHECKOUT / "requirements.lock").read_text()
    components = bill["components"]
    assert [(each["name"], each["version"]) for each in components] == re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE)
    assert [each["purl"] for each in components] == [
        f"pkg:pypi/{each['name']}@{each['version']}" for each in components
    ]
    hashes = sorted(entry["value"] for each in components for entry in each["properties"])
    assert hashes == sorted(re.findall(r"sha256:([0-9a-f]{64})", lock))
    (root,) = bill["dependencies"]
    assert root["ref"] == bill["metadata"]["component"]["bom-ref"]
    assert "pkg:pypi/mitmproxy@" in " ".join(root["dependsOn"])
    record_property("locked packages", len(components))


@pytest.fixture(scope="module", params=FOUND or [None])
def installed(request, wheel, tmp_path_factory):
    """The folder of the programs of an environment that has only the wheel and what it needs."""
    if request.param is None:
        pytest.skip(f"needs Python {' or '.join(VERSIONS)} with the packages that .ci/run downloads")
    packages = CACHE / f"wirekey-wheels-{request.param}"
    folder = tmp_path_factory.mktemp("environment")
    run([(packages / "python").read_text().strip(), "-m", "venv", "--without-pip", folder], cwd=folder)
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", folder / "bin" / "python"]
    offline = ["--no-index", "--find-links", packages, "--no-compile", "--disable-pip-version-check"]
    run([*pip, "install", "-qq", *offline, f"{wheel}[demo]"], cwd=folder, PIP_CONFIG_FILE=os.devnull)
    return folder / "bin"


def test_the_demo_runs_from_the_wheel(installed, tmp_path):
    output = run([installed / "wirekey", "demo"], cwd=tmp_path)
    assert "checks passed" in output
    assert "Next: wirekey serve" in output


def test_the_installed_files_are_those_of_the_wheel_until_one_is_changed(installed, wheel, tmp_path, record_property):
    locked = json.loads(run([installed / "wirekey", "version", "--json"], cwd=tmp_path))

    def problems(*words):
        done = subprocess.run(
            [installed / "wirekey", "version", "--verify", "--json", *words],
            cwd=tmp_path, env=without_checkout() | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert (done.returncode == 0) == found["verified"] == (not found["problems"])
        record_property("files compared", found["files"])
        return found["problems"]

    assert problems() == problems("--wheel", wheel) == []
    changed = Path(locked["folder"]) / "core" / "credentials" / "scrub.py"
    source = changed.read_text()
    try:
        changed.write_text(source + "\n")
        assert problems() == problems("--wheel", wheel) == ["wirekey/core/credentials/scrub.py was changed."]
    finally:
        changed.write_text(source)


def test_serve_and_exec_run_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    (tmp_path / "wirekey.yaml").write_text(
        json.dumps({"listen": dict.fromkeys(("forward", "gateway", "console"), "127.0.0.1:0")})
    )
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [installed / "wirekey", "serve", "--simulator"],
            cwd=tmp_path, env=without_checkout(), stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    log_of(output, process)
    try:

        def listening():
            assert process.poll() is None, output.read_text()
            return RunningProxy.read(tmp_path / "state")

        running = wait_for(listening, "wirekey serve to listen", 2 * PATIENCE)
        program = [installed / "python", "-c", CALL]
        for options in ([], ["--gateway"]):
            called = run([installed / "wirekey", "exec", *options, "--", *program], cwd=tmp_path)
            assert called.startswith("Hello from the simulator"), options
        with urllib.request.urlopen(f"http://{running.console}/") as page:
            assert b"<code>wirekey console</code>" in page.read()
        listed = run([installed / "wirekey", "audit", "list", "--json"], cwd=tmp_path)
        event = json.loads(listed.splitlines()[0] if not listed.startswith("[") else json.dumps(json.loads(listed)[0]))
        assert event["policy_result"] == "allow"
        assert event["cost_usd"] > 0
        assert {path.name for path in tmp_path.iterdir()} >= {"state", "certs"}
        assert "Run a program through Wirekey: wirekey exec" in output.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)
