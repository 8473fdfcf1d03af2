"""THREATS 2.9, R2, R51: what a program finds in the environment that `exec` and `env` give it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.capabilities import without_ptrace
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, bare_environment, wirekey_behind
from tests.support.serving import wirekey

SECOND, FILED, CORP, OTHER = (f"sk-secret-of-{name}-2d9f61c0" for name in ("second", "filed", "corp", "other"))
SECRETS = [*PROVIDER_KEYS.values(), SECOND, FILED, CORP, OTHER]
REFERENCED = {**KEY_ENVIRONMENT, "OPENAI_API_KEY_2": SECOND}
UNDER_OTHER_NAMES = {
    "MY_KEY": SECOND,
    "A_LIST": f"one, {FILED},two",
    "QUOTED": f'["{CORP}"]',
    "A_HEADER": f"Authorization: Bearer {PROVIDER_KEYS['gemini']}",
    "A_URL": f"https://user:{SECOND}@proxy.example",
}
KNOWN = {
    "AZURE_OPENAI_API_KEY": OTHER,
    "GOOGLE_API_KEY": "AIza-key-of-the-user-5f0a11",
    "ANTHROPIC_AUTH_TOKEN": "token-of-the-user-77e1",
    "OPENAI_API_KEYS": "sk-of-the-user-1a2b3c,sk-of-the-user-4d5e6f",
    "OPENROUTER_API_KEY": "sk-or-of-the-user-90ab",
    "LITELLM_MASTER_KEY": "sk-litellm-of-the-user",
    "AWS_SESSION_TOKEN": "session-of-the-user-0011",
    "AWS_PROFILE": "production",
    "mistral_api_key": "mistral-of-the-user-33",
}
HARMLESS = {"EDITOR": "vi", "MY_PROFILE": "production", "OPENAI_LOG": "debug", "GITHUB_TOKEN": "ghp-of-the-user"}
NAMED_LIKE_ONE = {
    "OPENAI_API_KEY_OLD": "sk-before-the-last-rotation-41",
    "X_INTERNAL_MODELS_KEY": "key-of-a-service-without-a-name",
    "WIREKEY_MASTER_KEY": "master-key-of-the-installation",
    "NEW_VENDOR_TOKEN": "token-of-a-vendor-of-tomorrow",
    "OPENAI_API_KEY_OF_TEAM_A": "sk-of-a-team-2207",
}
"""Variables that no list of names has."""
NEEDED = {
    "SSH_AUTH_SOCK": "/run/user/1000/keyring/ssh",
    "GITHUB_TOKEN": "ghp-of-the-user",
    "NPM_TOKEN": "npm_of-the-user",
    "GPG_KEY": "7169605F62C751356D054A26A821E680E5FA6305",
    "MAX_THINKING_TOKENS": "32000",
    "CACHE_KEY": "v2",
    "GOOGLE_API_KEY_FILE": "/run/secrets/openai",
    "TOKENIZERS_PARALLELISM": "false",
    "KEYTIMEOUT": "100",
}
ENVIRONMENT = {**REFERENCED, **UNDER_OTHER_NAMES, **KNOWN, **HARMLESS, "AZURE_COPY": OTHER}
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a running proxy whose keys come from the environment, from a file, and from `.env`."""
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    made = tmp_path_factory.mktemp("wirekey")
    for name, text in {"key.txt": FILED, ".env": f"CORP_KEY={CORP}\nOPENAI_API_KEY_2={SECOND}\n"}.items():
        (made / name).write_text(text)
        (made / name).chmod(0o600)
    providers = {
        "openai": {"keys": ["env:REAL_OPENAI", "env:OPENAI_API_KEY_2"], "upstream_url": simulator.url},
        "gemini": {"keys": ["env:REAL_GEMINI", "file:key.txt"], "upstream_url": simulator.url},
        "anthropic": {"keys": ["env:REAL_ANTHROPIC", "env:CORP_KEY"], "upstream_url": simulator.url},
        "bedrock": {"aws": {"bearer": "env:REAL_BEDROCK"}, "upstream_url": simulator.url},
        "mistral": {"keys": ["env:REAL_MISTRAL"], "upstream_url": simulator.url},
    }
    with wirekey_behind(made, simulator, providers=providers) as proxy:
        yield proxy.folder
    simulator.stop()


def assert_clean(environ: dict) -> None:
    text = json.dumps(environ)
    assert [secret for secret in (*SECRETS, *KNOWN.values()) if secret in text and secret != "production"] == []
    assert not environ.keys() & {*REFERENCED, "CORP_KEY", *UNDER_OTHER_NAMES, "AZURE_COPY", *KNOWN}
    assert HARMLESS.items() <= environ.items()


def test_R2_a_program_has_no_configured_secret_and_no_known_credential(folder):
    done = wirekey(folder, "exec", "--", sys.executable, "-c", PRINT, environ=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert_clean(json.loads(done.stdout))
    secret, known = done.stderr.splitlines()
    assert all(name in secret for name in (*UNDER_OTHER_NAMES, "AZURE_COPY"))
    assert all(name in known for name in KNOWN)
    assert "--keep NAME" in known
    assert not any(value in done.stderr for value in ENVIRONMENT.values() if len(value) > 12)


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux shows the environment of a process as a file.")
@pytest.mark.parametrize("name", ["environ", "mem"])
def test_R2_a_program_cannot_read_what_exec_has_in_memory(folder, name):
    script = (
        f"import os\ntry: print(open(f'/proc/{{os.getppid()}}/{name}', 'rb'))\nexcept OSError as e: print(e.strerror)"
    )
    command = ["exec", "--", sys.executable, "-c", script]
    done = wirekey(folder, *command, environ=ENVIRONMENT, preexec_fn=without_ptrace)
    assert done.stdout == "Permission denied\n"


@pytest.mark.parametrize("shell", ["bash", "json"])
def test_R2_a_shell_that_evaluates_env_has_none_either(folder, shell):
    option = ["--json"] if shell == "json" else ["--shell", shell]
    done = wirekey(folder, "env", *option, environ=ENVIRONMENT)
    if shell == "bash":
        script = f'eval "$VARIABLES"; exec {sys.executable} -c "{PRINT}"'
        environment = {**bare_environment(), **ENVIRONMENT, "CORP_KEY": CORP}
        said = subprocess.run(
            ["bash", "-c", script], env={**environment, "VARIABLES": done.stdout}, capture_output=True
        )
        environ = json.loads(said.stdout)
        del environ["VARIABLES"]
    else:
        given = json.loads(done.stdout)
        environ = {name: value for name, value in {**ENVIRONMENT, **given}.items() if value is not None}
        assert given["CORP_KEY"] is None
    assert_clean(environ)
    assert "AZURE_OPENAI_API_KEY" in done.stderr


def test_R2_keep_passes_on_a_known_credential_but_no_configured_secret(folder):
    script = [sys.executable, "-c", PRINT]
    kept = ["--keep", "AZURE_OPENAI_API_KEY", "--keep", "AWS_PROFILE", "--keep", "NOT_THERE"]
    done = wirekey(folder, "exec", *kept, "--", *script, environ=ENVIRONMENT)
    environ = json.loads(done.stdout)
    assert (environ["AZURE_OPENAI_API_KEY"], environ["AWS_PROFILE"]) == (OTHER, "production")
    assert "AZURE_OPENAI_API_KEY" not in done.stderr
    for name in ("OPENAI_API_KEY_2", "MY_KEY", "A_LIST"):
        refused = wirekey(folder, "exec", "--keep", name, "--", *script, environ=ENVIRONMENT)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"--keep {name}" in refused.stderr


def test_R2_nothing_is_reported_if_nothing_was_removed(folder):
    again = {"OPENAI_API_KEY": "wirekey-holds-the-key", "GOOGLE_API_KEY": "", **REFERENCED}
    done = wirekey(folder, "exec", "--", sys.executable, "-c", PRINT, environ=again)
    assert (done.returncode, done.stderr) == (0, "")


def test_R2_a_key_that_exec_replaces_may_be_kept(folder):
    mine = {"OPENAI_API_KEY": "sk-mine-for-passthrough"}
    done = wirekey(folder, "exec", "--keep", "OPENAI_API_KEY", "--", sys.executable, "-c", PRINT, environ=mine)
    assert json.loads(done.stdout)["OPENAI_API_KEY"] == "sk-mine-for-passthrough"


def test_R51_no_variable_that_is_named_like_a_credential_is_passed_on(folder):
    environment = {**NAMED_LIKE_ONE, **NEEDED, "A_COPY": NAMED_LIKE_ONE["WIREKEY_MASTER_KEY"]}
    done = wirekey(folder, "exec", "--", sys.executable, "-c", PRINT, environ=environment)
    environ = json.loads(done.stdout)
    assert not environ.keys() & {*NAMED_LIKE_ONE, "A_COPY"}
    assert environ.items() >= NEEDED.items()
    assert all(name in done.stderr for name in NAMED_LIKE_ONE)
    assert not any(name in done.stderr for name in NEEDED)


def test_R51_the_operator_keeps_a_variable_that_its_program_needs(folder):
    kept = ["--keep", "NEW_VENDOR_TOKEN"]
    done = wirekey(folder, "exec", *kept, "--", sys.executable, "-c", PRINT, environ=NAMED_LIKE_ONE)
    environ = json.loads(done.stdout)
    assert environ["NEW_VENDOR_TOKEN"] == NAMED_LIKE_ONE["NEW_VENDOR_TOKEN"]
    assert "WIREKEY_MASTER_KEY" not in environ
