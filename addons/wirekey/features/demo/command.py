"""wirekey demo: a complete round on free ports in a temporary folder, explained step by step."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.credential_variables import is_credential_name
from wirekey.cli.environment import BUNDLE_VARIABLES, OTHER_PROXIES
from wirekey.core.command_name import COMMAND, SERVE_COMMAND
from wirekey.core.errors import UserError
from wirekey.features.demo import program as demo_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.server.runtime import RunningProxy
    from wirekey_simulator.exchange import Seen
    from wirekey_simulator.server import Simulator

INSTALL_SDKS = (
    "Install them with pip install 'wirekey[demo]', or run uvx --from 'wirekey[demo]' wirekey demo. "
    "In a checkout, ./run.sh demo installs them."
)
SDKS = ("openai", "google.genai", "anthropic", "boto3")
STEP_SECONDS = 120.0
"""The time limit of each step."""
SHOWN_LENGTH = 48
"""Characters of a response that are printed."""


@click.command("demo")
def command() -> None:
    """Run a complete round on free ports in a temporary folder: simulator, proxy, calls by real SDKs, audit.

    Nothing leaves this machine, and none of your files is read or changed. The exit code is 1 if a check fails.
    """
    if missing := [name for name in SDKS if not installed(name)]:
        click.echo(f"wirekey: the demo needs SDKs that are not installed: {', '.join(missing)}.")
        click.echo(INSTALL_SDKS)
        sys.exit(2)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wirekey-demo-") as folder:
        demo = Demo(Path(folder))
        demo.run_steps()
    seconds = time.monotonic() - started
    if demo.failures:
        click.echo(f"\nFailed checks, after {seconds:.0f} s:", err=True)
        click.echo("\n".join(f"  - {failure}" for failure in demo.failures), err=True)
        sys.exit(1)
    click.echo(f"\nAll {demo.checked} checks passed in {seconds:.0f} s. The temporary folder has been removed.")
    click.echo(f"Next: {SERVE_COMMAND} in one terminal, {COMMAND} exec -- YOUR PROGRAM in another.")


def installed(name: str) -> bool:
    """Return whether a module is installed."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class DemoError(UserError):
    """A step failed that the next ones depend on."""

    def report(self) -> str:
        """Return the text, set apart from the output of the demo."""
        return f"\nwirekey: the demo cannot continue: {self}"


class Demo:
    """The round, step by step. `failures` are the messages of failed checks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.checked = 0
        self.step = 0
        self.keys = {name: f"real-{name}-key-{secrets.token_hex(8)}" for name in demo_providers()}
        # Settings of this shell must not affect the programs of the demo.
        own = {"HTTPS_PROXY", "https_proxy", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "AWS_REGION"}
        left_out = {*own, *OTHER_PROXIES, *BUNDLE_VARIABLES}
        self.environment = {
            key: value for key, value in os.environ.items() if key not in left_out and not is_credential_name(key)
        }

    # The steps.

    def run_steps(self) -> None:
        """Run the steps. Raises DemoError if one fails that the next ones depend on."""
        with running_simulator(self.folder / "simulator", self.keys) as simulator:
            self.print_step("The simulator takes the place of the providers.")
            self.print_line(f"It listens on {simulator.url}, over TLS, and accepts one key per provider, such as")
            self.print_line(f"{self.keys['openai']}. Nothing leaves this machine.")
            with self.proxy(simulator) as running:
                self.print_step("Wirekey runs. Only Wirekey has the four keys.")
                self.print_line(f"HTTPS_PROXY is http://{running.forward}")
                token = self.add_agent()
                self.make_calls(simulator)
                self.call_without_agent(simulator, running)
                self.check_audit()
            self.check_leaks(token)

    def add_agent(self) -> str:
        """Add an agent. Returns its token."""
        self.print_step("An agent is added. Its token is shown once and stored as a hash.")
        self.print_line(f"$ {COMMAND} agents add alice --role engineer")
        added = self.wirekey("agents", "add", "alice", "--role", "engineer", "--json")
        token = str(json.loads(added)["token"])
        self.print_line(f"{token[:7]}…")
        return token

    def make_calls(self, simulator: Simulator) -> None:
        """Make calls with the SDKs through the proxy, and check the responses and what reached the simulator."""
        self.print_step("A program makes eight calls with the official SDKs. It is unchanged and has no key.")
        self.print_line(f"$ {COMMAND} exec --agent alice -- python demo_program.py")
        program = str(Path(demo_program.__file__))
        output = self.wirekey("exec", "--agent", "alice", "--", sys.executable, program)
        results = [json.loads(line) for line in output.splitlines()]
        for result in results:
            way = f"{result['chunks']:>3} chunks" if result.get("streamed") and "chunks" in result else "     plain"
            text = result.get("text") or f"{result.get('error')}: {result.get('message')}"
            shown = text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"
            self.print_line(f"{result['provider']:<10} {way}  {shown}")
        for provider, streamed in demo_program.CALLS:
            kind = "streamed" if streamed else "plain"
            matching = [r for r in results if (r["provider"], r["streamed"]) == (provider, streamed)]
            back: dict[str, Any] = matching[0] if len(matching) == 1 else {}
            good = bool(back.get("text")) and (back.get("chunks", 0) > 1) == streamed
            self.check(good, f"the {kind} call of {provider} returned {back or 'nothing'}")
        seen = list(simulator.seen)
        self.check(len(seen) == len(demo_program.CALLS), f"{len(seen)} requests reached the provider, not 8")
        for one in seen:
            self.check(
                carries(one, self.keys[str(one.provider)]),
                f"a request to {one.provider} did not carry the one right key in the one right place",
            )
        self.print_line("Each request reached its provider with Wirekey's key, and with no other credential.")

    def call_without_agent(self, simulator: Simulator, running: RunningProxy) -> None:
        """Make a call with an unknown token, and check that it is refused."""
        self.print_step("A program without an agent tries the same.")
        before = len(simulator.seen)
        environment = self.environment | {
            "HTTPS_PROXY": f"http://{running.forward}",
            "SSL_CERT_FILE": str(self.folder / "certs" / "bundle.pem"),
            "OPENAI_API_KEY": "wk_of_nobody",
        }
        output = self.run([sys.executable, str(Path(demo_program.__file__)), "refused"], environment)
        result = json.loads(output)
        self.print_line(f"{result.get('error')}: {result.get('message')}"[:100] + "…")
        self.check(result.get("error") == "AuthenticationError", f"the SDK without an agent got {result}")
        self.check(len(simulator.seen) == before, "the call without an agent reached the provider")
        self.print_line("Its SDK raised its usual exception, and nothing reached the provider.")

    def check_audit(self) -> None:
        """Print the audit, and check that it has one complete event for each call."""
        self.print_step("Each call has one event in the audit log. It contains no part of prompts and responses.")
        self.print_line(f"$ {COMMAND} audit list")
        for line in self.wirekey("audit", "list").splitlines():
            self.print_line(line)
        events = [json.loads(line) for line in self.wirekey("audit", "export").splitlines()]
        calls = [event for event in events if event["provider"] and event["outcome"] == "completed"]
        self.check(len(calls) == len(demo_program.CALLS), f"{len(calls)} calls are recorded as completed, not 8")
        for event in calls:
            name = f"the event of {event['provider']} {event['operation']}"
            self.check(event["agent_id"] == "alice", f"{name} names the agent {event['agent_id']}")
            self.check(bool(event["input_tokens"] and event["output_tokens"]), f"{name} has no token counts")
            self.check(bool(event["finish_reason"]), f"{name} has no finish reason")
        denied = [event for event in events if event["outcome"] == "denied"]
        self.check([event["status"] for event in denied] == [401], f"{len(denied)} denials are recorded, not 1")

    def check_leaks(self, token: str) -> None:
        """Check that no file of the proxy contains the token, the prompt or a key."""
        self.print_step("The files of the proxy are searched for secrets and content.")
        secrets_by_name = {
            "the agent's token": token,
            "the prompt": "wirekey-demo-prompt",
            **{f"the {name} key": key for name, key in self.keys.items()},
        }
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        contents = {path: path.read_bytes() for path in files}
        for name, secret in secrets_by_name.items():
            places = [path.name for path, content in contents.items() if secret.encode() in content]
            self.check(not places, f"{name} is in {', '.join(places)}")
        self.print_line(f"{len(files)} files, including the log at level debug: no key, no token, no prompt.")

    # Helpers of the steps.

    @contextlib.contextmanager
    def proxy(self, simulator: Simulator) -> Iterator[RunningProxy]:
        """Run `wirekey serve` with the simulator as its providers."""
        from wirekey.server.runtime import RunningProxy

        (self.folder / "wirekey.yaml").write_text(json.dumps(configuration(simulator)))
        environment = self.environment | {f"DEMO_{name.upper()}": key for name, key in self.keys.items()}
        log = self.folder / "output.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "wirekey", "serve", "--config", "wirekey.yaml"],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + STEP_SECONDS
            while not (running := RunningProxy.read(self.folder / "state")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError(f"wirekey serve does not listen. Its output:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            try:
                code = process.wait(STEP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            self.check(code == 0, f"wirekey serve exited with code {code}")

    def wirekey(self, *arguments: str) -> str:
        """Run a wirekey command in the folder of the demo. Returns its output. Raises DemoError if it fails."""
        return self.run([sys.executable, "-m", "wirekey", *arguments], self.environment)

    def run(self, program: list[str], environment: dict[str, str]) -> str:
        """Run a program in the folder of the demo. Returns its output. Raises DemoError if it fails."""
        try:
            done = subprocess.run(
                program, cwd=self.folder, env=environment, capture_output=True, timeout=STEP_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"{' '.join(program[1:5])} did not end within {STEP_SECONDS:g} s") from error
        if done.returncode:
            errors = done.stderr.decode(errors="replace").strip()
            raise DemoError(f"{' '.join(program[1:5])} exited with code {done.returncode}:\n{errors}")
        return done.stdout.decode()

    def check(self, good: bool, failure: str) -> None:
        """Count a check, and note `failure` if it failed."""
        self.checked += 1
        if not good:
            self.failures.append(failure)

    def print_step(self, sentence: str) -> None:
        """Print the heading of the next step."""
        self.step += 1
        click.secho(f"\n{self.step}. {sentence}", bold=True)

    def print_line(self, line: str) -> None:
        """Print a line of the current step."""
        click.echo(f"   {line}".rstrip())


def demo_providers() -> list[str]:
    """Return the names of the providers that the demo calls."""
    return list(dict.fromkeys(provider for provider, _ in demo_program.CALLS))


def configuration(simulator: Simulator) -> dict[str, Any]:
    """Return the configuration of the proxy. The simulator is every provider; its keys come from the environment."""
    providers: dict[str, dict[str, Any]] = {
        name: {"keys": [f"env:DEMO_{name.upper()}"], "upstream_url": simulator.url} for name in demo_providers()
    }
    providers["bedrock"]["aws"] = {"bearer": providers["bedrock"].pop("keys")[0]}
    return {
        "listen": {"forward": "127.0.0.1:0"},
        "log": {"format": "json", "level": "debug"},
        "upstream_ca_file": str(simulator.ca_file),
        "providers": providers,
    }


def carries(seen: Seen, key: str) -> bool:
    """Return whether the simulator accepted a request that contains this key exactly once."""
    parts = [value for _, value in seen.headers] + [seen.target.encode()]
    return seen.status == 200 and sum(key.encode() in part for part in parts) == 1


@contextlib.contextmanager
def running_simulator(folder: Path, keys: dict[str, str]) -> Iterator[Simulator]:
    """Run the simulator in a thread."""
    from wirekey_simulator.server import Simulator

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    simulator = Simulator(folder, keys={name: [key] for name, key in keys.items()})
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(STEP_SECONDS)
        yield simulator
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(STEP_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STEP_SECONDS)
        loop.close()
