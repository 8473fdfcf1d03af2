from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.conversation import Program, behind_exec, command_of, direct_environment
from tests.support.running import EVERYTHING, PROVIDER_KEYS, SimulatorThread, Wirekey, bare_environment, wirekey_behind
from wirekey.core.call import new_call_id

PREFIXED = {
    "OPENAI_BASE_URL": "/api/v1/openai/v1",
    "OPENAI_API_BASE": "/api/v1/openai/v1",
    "ANTHROPIC_BASE_URL": "/api/v1/anthropic",
    "GOOGLE_GEMINI_BASE_URL": "/api/v1/gemini",
    "MISTRAL_API_BASE": "/api/v1/mistral/v1",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "",
}
"""The gateway's paths that `exec --gateway` does not set; Bedrock's has its prefix there, so here it is the root."""
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
POLICY = {"path": str(EVERYTHING.parent / "documented"), "timeout": 30}
"""On a busy machine the decisions about all models of a list take their time."""


@dataclass
class Stage:
    """The simulator as the provider, a Wirekey before it, and client programs that are started when first needed."""

    simulator: SimulatorThread
    proxy: Wirekey
    token: str
    folder: object
    programs: dict[tuple[str, str], Program]
    keyless: Wirekey | None = None
    began: str = ""

    def program(self, language: str, way: str) -> Program:
        """`way` is one of

        direct · through · anonymous (no agent in the URL of the proxy) · keyless (a Wirekey without keys) ·
        gateway (as `exec --gateway` leads it) · prefixed (at the gateway's other paths).
        """
        key = (language, way)
        if key not in self.programs:
            command, environment = command_of(language), bare_environment()
            folder = self.folder / f"{language}-{way}"
            folder.mkdir()
            if way == "direct":
                environment = direct_environment(self.simulator)
            elif way == "anonymous":
                address = f"http://{self.proxy.running.forward}"
                nobody = {"HTTPS_PROXY": address, "https_proxy": address, "AWS_BEARER_TOKEN_BEDROCK": "placeholder"}
                command = behind_exec(self.proxy, *command, variables=nobody)
            elif way in ("gateway", "prefixed"):
                paths = PREFIXED if way == "prefixed" else {}
                base = f"http://{self.proxy.running.gateway}"
                variables = {name: base + path for name, path in paths.items()}
                command = behind_exec(self.proxy, *command, variables=variables, gateway=True)
            else:
                command = behind_exec(self.keyless if way == "keyless" else self.proxy, *command)
            self.programs[key] = Program(command, environment, folder)
        return self.programs[key]

    def script(self, behaviour: str, times: int = 1) -> None:
        self.simulator.simulator.script.add(behaviour, times)


# Not for the session: two dozen client programs take gigabytes.
@pytest.fixture(scope="package")
def running_stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    folder = tmp_path_factory.mktemp("programs")
    with (
        wirekey_behind(
            tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN, policy=POLICY, limits={"body_bytes": "1MiB"}
        ) as proxy,
        wirekey_behind(
            tmp_path_factory.mktemp("keyless"),
            simulator,
            providers={name: {"upstream_url": simulator.url} for name in PROVIDER_KEYS},
        ) as keyless,
    ):
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), folder, {}, keyless)
        keyless.add_agent("alice")
        yield stage
        for program in stage.programs.values():
            program.process.stdin.close()  # all end at once
        for program in stage.programs.values():
            program.stop()
    simulator.stop()


@pytest.fixture
def stage(running_stage) -> Stage:
    running_stage.simulator.simulator.reset()
    running_stage.began = new_call_id()
    return running_stage
