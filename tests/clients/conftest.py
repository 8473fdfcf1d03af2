from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.clients.conversation import Program, behind_exec, command_of, direct_environment
from tests.running import PROVIDER_KEYS, SimulatorThread, Wirekey, bare_environment, wirekey_behind
from wirekey.call import new_call_id


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
        """`way`: direct, through, anonymous (no agent in the URL of the proxy), keyless (a Wirekey without keys)."""
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
            else:
                command = behind_exec(self.keyless if way == "keyless" else self.proxy, *command)
            self.programs[key] = Program(command, environment, folder)
        return self.programs[key]

    def script(self, behaviour: str, times: int = 1) -> None:
        self.simulator.simulator.script.add(behaviour, times)


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    folder = tmp_path_factory.mktemp("programs")
    with (
        wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, limits={"body_bytes": "1MiB"}) as proxy,
        wirekey_behind(
            tmp_path_factory.mktemp("keyless"),
            simulator,
            providers={name: {"upstream": simulator.url} for name in PROVIDER_KEYS},
        ) as keyless,
    ):
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), folder, {}, keyless)
        keyless.add_agent("alice")
        yield stage
        for program in stage.programs.values():
            program.stop()
    simulator.stop()


@pytest.fixture
def stage(running_stage) -> Stage:
    running_stage.simulator.simulator.reset()
    running_stage.began = new_call_id()
    return running_stage
