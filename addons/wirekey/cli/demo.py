"""wirekey demo: a whole round on free ports in a temporary folder, told as it happens."""

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

from wirekey.cli import demo_program
from wirekey.cli.credential_variables import is_credential_name
from wirekey.cli.environment import BUNDLE_VARIABLES, OTHER_PROXIES
from wirekey.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.server.runtime import RunningProxy
    from wirekey_simulator.exchange import Seen
    from wirekey_simulator.server import Simulator

SDKS = ("openai", "google.genai", "anthropic", "boto3")
PATIENCE = 120.0
"""Seconds after which a step that has not come to an end counts as failed."""
ANSWER_SHOWN = 48


@click.command("demo")
def command() -> None:
    """Make a whole round, on free ports in a temporary folder: simulator, proxy, real SDK calls, the audit they left.

    Nothing leaves this machine and nothing of yours is read or changed. Exit code 1 when anything is not as it
    should be.
    """
    if missing := [name for name in SDKS if not installed(name)]:
        click.echo(f"wirekey: the demo calls with real SDKs, and these are not installed: {', '.join(missing)}.")
        click.echo("Start it with ./run.sh demo, which installs them into .venv.")
        sys.exit(2)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wirekey-demo-") as folder:
        tour = Tour(Path(folder))
        tour.make()
    seconds = time.monotonic() - started
    if tour.failures:
        click.echo(f"\nNot as it should be, after {seconds:.0f} s:", err=True)
        click.echo("\n".join(f"  - {failure}" for failure in tour.failures), err=True)
        sys.exit(1)
    click.echo(f"\nAll {tour.checked} checks held, in {seconds:.0f} s. The folder is gone again.")
    click.echo("Next: ./run.sh in one terminal, ./run.sh exec -- YOUR PROGRAM in another. See README.md.")


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class TourError(UserError):
    """A step failed that the next ones depend on."""

    def report(self) -> str:
        """Return the text, set apart from the output of the demo."""
        return f"\nwirekey: the demo cannot go on: {self}"


class Tour:
    """The round, step by step. `failures` are sentences about what was not as it should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.checked = 0
        self.step = 0
        self.keys = {name: f"real-{name}-key-{secrets.token_hex(8)}" for name in demo_providers()}
        # Of this shell's own settings, none may reach or lead astray what runs here.
        own = {"HTTPS_PROXY", "https_proxy", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "AWS_REGION"}
        left_out = {*own, *OTHER_PROXIES, *BUNDLE_VARIABLES}
        self.environment = {
            key: value for key, value in os.environ.items() if key not in left_out and not is_credential_name(key)
        }

    # The stations of the tour.

    def make(self) -> None:
        with stand_in(self.folder / "simulator", self.keys) as simulator:
            self.say("The simulator stands in for OpenAI, Gemini, Anthropic and Bedrock.")
            self.tell(f"It listens on {simulator.url}, over TLS, and takes one key per provider, such as")
            self.tell(f"{self.keys['openai']}. Nothing leaves this machine.")
            with self.proxy(simulator) as running:
                self.say("Wirekey serves. It, and nobody else, has the four keys.")
                self.tell(f"HTTPS_PROXY leads to http://{running.forward}")
                token = self.add_agent()
                self.make_calls(simulator)
                self.be_refused(simulator, running)
                self.look_at_audit()
            self.look_for_leaks(token)

    def add_agent(self) -> str:
        self.say("An agent is added. Its token is shown once and kept as a hash.")
        self.tell("$ wirekey agents add alice --role engineer")
        made = self.wirekey("agents", "add", "alice", "--role", "engineer", "--json")
        token = str(json.loads(made)["token"])
        self.tell(f"{token[:7]}…")
        return token

    def make_calls(self, simulator: Simulator) -> None:
        self.say("A program makes eight calls with the official SDKs. It is unchanged, and holds no key.")
        self.tell("$ wirekey exec --agent alice -- python demo_program.py")
        program = str(Path(demo_program.__file__))
        output = self.wirekey("exec", "--agent", "alice", "--", sys.executable, program)
        results = [json.loads(line) for line in output.splitlines()]
        for result in results:
            way = f"{result['pieces']:>3} pieces" if result.get("streamed") and "pieces" in result else "     plain"
            text = result.get("answer") or f"{result.get('error')}: {result.get('message')}"
            shown = text if len(text) <= ANSWER_SHOWN else f"{text[: ANSWER_SHOWN - 1]}…"
            self.tell(f"{result['provider']:<10} {way}  {shown}")
        for provider, streamed in demo_program.CALLS:
            kind = "streamed" if streamed else "plain"
            matching = [r for r in results if (r["provider"], r["streamed"]) == (provider, streamed)]
            back: dict[str, Any] = matching[0] if len(matching) == 1 else {}
            good = bool(back.get("answer")) and (back.get("pieces", 0) > 1) == streamed
            self.check(good, f"the {kind} call of {provider} came back as {back or 'nothing'}")
        seen = list(simulator.seen)
        self.check(len(seen) == len(demo_program.CALLS), f"{len(seen)} requests reached the provider, not 8")
        for one in seen:
            self.check(
                carries(one, self.keys[str(one.provider)]),
                f"a request to {one.provider} did not carry the one right key in the one right place",
            )
        self.tell("Each request reached its provider with Wirekey's key, and with no other credential.")

    def be_refused(self, simulator: Simulator, running: RunningProxy) -> None:
        self.say("A program that no one added tries the same.")
        before = len(simulator.seen)
        environment = self.environment | {
            "HTTPS_PROXY": f"http://{running.forward}",
            "SSL_CERT_FILE": str(self.folder / "certs" / "bundle.pem"),
            "OPENAI_API_KEY": "wk_of_nobody",
        }
        output = self.run([sys.executable, str(Path(demo_program.__file__)), "refused"], environment)
        result = json.loads(output)
        self.tell(f"{result.get('error')}: {result.get('message')}"[:100] + "…")
        self.check(result.get("error") == "AuthenticationError", f"the SDK of a stranger got {result}")
        self.check(len(simulator.seen) == before, "the call of a stranger reached the provider")
        self.tell("Its SDK raised its usual exception, and nothing reached the provider.")

    def look_at_audit(self) -> None:
        self.say("Each call left one record. Of prompts and answers there is nothing in it.")
        self.tell("$ wirekey audit list")
        for line in self.wirekey("audit", "list").splitlines():
            self.tell(line)
        events = [json.loads(line) for line in self.wirekey("audit", "export").splitlines()]
        calls = [event for event in events if event["provider"] and event["outcome"] == "completed"]
        self.check(len(calls) == len(demo_program.CALLS), f"{len(calls)} calls are recorded as completed, not 8")
        for event in calls:
            name = f"the record of {event['provider']} {event['operation']}"
            self.check(event["agent_id"] == "alice", f"{name} names the agent {event['agent_id']}")
            self.check(bool(event["input_tokens"] and event["output_tokens"]), f"{name} has no token counts")
            self.check(bool(event["finish_reason"]), f"{name} has no finish reason")
        denied = [event for event in events if event["outcome"] == "denied"]
        self.check([event["status"] for event in denied] == [401], f"{len(denied)} denials are recorded, not the one")

    def look_for_leaks(self, token: str) -> None:
        self.say("The folder of the proxy is searched for what must be nowhere in it.")
        secrets_by_name = {
            "the agent's token": token,
            "the prompt": "wirekey-demo-prompt",
            **{f"the {name} key": key for name, key in self.keys.items()},
        }
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        contents = {path: path.read_bytes() for path in files}
        for name, secret in secrets_by_name.items():
            places = [path.name for path, content in contents.items() if secret.encode() in content]
            self.check(not places, f"{name} stands in {', '.join(places)}")
        self.tell(f"{len(files)} files, among them the log at level debug: no key, no token, no prompt.")

    # What they stand on.

    @contextlib.contextmanager
    def proxy(self, simulator: Simulator) -> Iterator[RunningProxy]:
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
            deadline = time.monotonic() + PATIENCE
            while not (running := RunningProxy.read(self.folder / "state")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TourError(f"wirekey serve does not listen. It said:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            self.check(code == 0, f"wirekey serve ended with exit code {code}")

    def wirekey(self, *arguments: str) -> str:
        """Run a wirekey command in the folder of the demo, and give what it printed."""
        return self.run([sys.executable, "-m", "wirekey", *arguments], self.environment)

    def run(self, program: list[str], environment: dict[str, str]) -> str:
        try:
            done = subprocess.run(
                program, cwd=self.folder, env=environment, capture_output=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TourError(f"{' '.join(program[1:5])} did not end within {PATIENCE:g} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise TourError(f"{' '.join(program[1:5])} ended with exit code {done.returncode}:\n{said}")
        return done.stdout.decode()

    def check(self, good: bool, failure: str) -> None:
        self.checked += 1
        if not good:
            self.failures.append(failure)

    def say(self, sentence: str) -> None:
        self.step += 1
        click.secho(f"\n{self.step}. {sentence}", bold=True)

    def tell(self, line: str) -> None:
        click.echo(f"   {line}".rstrip())


def demo_providers() -> list[str]:
    return list(dict.fromkeys(provider for provider, _ in demo_program.CALLS))


def configuration(simulator: Simulator) -> dict[str, Any]:
    """Each provider is the simulator; its key is in the environment of the proxy, and only there."""
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
    """Tell whether a request that the simulator took carries this key, once, and no agent token."""
    parts = [value for _, value in seen.headers] + [seen.target.encode()]
    return seen.status == 200 and sum(key.encode() in part for part in parts) == 1


@contextlib.contextmanager
def stand_in(folder: Path, keys: dict[str, str]) -> Iterator[Simulator]:
    """Run the simulator in a thread of its own."""
    from wirekey_simulator.server import Simulator

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    simulator = Simulator(folder, keys={name: [key] for name, key in keys.items()})
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(PATIENCE)
        yield simulator
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
