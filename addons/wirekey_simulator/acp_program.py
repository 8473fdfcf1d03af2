"""A stand-in for a program that speaks the Agent Client Protocol: `python -m wirekey_simulator.acp_program`.

It answers each prompt with words of its own. Words in brackets in the last line of a prompt ask for something else:
`[thoughts]`, `[permission]`, `[file]`, `[max_tokens]`, `[refusal]`, `[cancelled]`, `[error]`, `[silent]`, `[stubborn]`,
`[die]`, `[die-midway]`, `[flood]`, `[endless]`, `[stderr]`, `[noise]`, `[environment]`, `[folder]`, `[arguments]`,
`[prompt]`. Models ask for something at the start: `sim-login`, `sim-version`, `sim-start-die`.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
from typing import Any

TEXT = "A canary sang, and the miners listened."
FLOOD = 4000
"""Messages of a flood, each of a kilobyte."""


class AcpProgram:
    """One run of the stand-in. Its input is read unbuffered, so that a cancellation is seen between two words."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.input = b""
        self.sessions: dict[str, int] = {}
        self.cancelled = False
        self.answers: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        """Write one message."""
        os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return the next message, or None after the time limit. Exits at the end of the input."""
        while b"\n" not in self.input:
            if timeout is not None and not select.select([0], [], [], timeout)[0]:
                return None
            data = os.read(0, 65536)
            if not data:
                sys.exit(0)
            self.input += data
        line, _, self.input = self.input.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def run(self) -> None:
        """Answer requests until the input ends."""
        while True:
            message = self.receive()
            assert message
            if message.get("method") == "initialize":
                if self.model == "sim-start-die":
                    sys.exit(3)
                version = 2 if self.model == "sim-version" else message["params"]["protocolVersion"]
                self.send(id=message["id"], result={"protocolVersion": version, "agentCapabilities": {}})
            elif message.get("method") == "session/new":
                self.open(message)
            elif message.get("method") == "session/prompt":
                self.prompt(message)

    def open(self, message: dict[str, Any]) -> None:
        """Open a session."""
        if self.model == "sim-login":
            self.send(id=message["id"], error={"code": -32000, "message": "Authentication required"})
            return
        name = f"session-{len(self.sessions) + 1}"
        self.sessions[name] = 0
        self.send(id=message["id"], result={"sessionId": name})

    def update(self, session: str, kind: str, **more: Any) -> None:
        """Send an update of a session."""
        self.send(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": kind, **more}})

    def say(self, session: str, text: str, kind: str = "agent_message_chunk") -> None:
        """Send a piece of the response."""
        self.update(session, kind, content={"type": "text", "text": text})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request to the client, and return its response."""
        self.send(id="ask-1", method=method, params=params)
        while True:
            answer = self.receive()
            assert answer
            if answer.get("id") == "ask-1" and "method" not in answer:
                return answer

    def prompt(self, message: dict[str, Any]) -> None:
        """Answer a prompt."""
        session = message["params"]["sessionId"]
        self.sessions[session] += 1
        text = "".join(part["text"] for part in message["params"]["prompt"])
        wanted = set(re.findall(r"\[([a-z_-]+)\]", text.splitlines()[-1] if text else ""))
        stop = next((word for word in ("max_tokens", "refusal", "cancelled") if word in wanted), "end_turn")
        if "error" in wanted:
            self.send(id=message["id"], error={"code": -32603, "message": "canary in an error"})
            return
        if self.answer(session, text, wanted):
            self.send(id=message["id"], result={"stopReason": stop})
        else:
            self.send(id=message["id"], result={"stopReason": "cancelled"})

    def answer(self, session: str, text: str, wanted: set[str]) -> bool:
        """Send the response to a prompt. Return False if the client has cancelled it."""
        if "die" in wanted:
            sys.exit(4)
        if "silent" in wanted:
            return self.wait_for_cancel()
        if "stubborn" in wanted:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.say(session, "I stay.")
            time.sleep(3600)
        if "stderr" in wanted:
            sys.stderr.write("canary on stderr " * 65536)
            sys.stderr.flush()
        if "noise" in wanted:
            os.write(1, b"Loaded cached credentials.\n\n")
        if "thoughts" in wanted:
            self.say(session, "I think of birds.", "agent_thought_chunk")
            self.update(session, "plan", entries=[])
            self.update(session, "tool_call", toolCallId="1", title="ls", status="pending")
        for word in wanted & {"environment", "folder", "arguments", "prompt"}:
            found: dict[str, object] = {
                "environment": sorted(os.environ),
                "folder": os.getcwd(),  # noqa: PTH109  # as the system says
                "arguments": sys.argv[1:],
                "prompt": [session, self.sessions[session], text],
            }
            self.say(session, json.dumps(found[word]))
            return True
        if "permission" in wanted or "file" in wanted:
            self.say(session, json.dumps(self.question(wanted)))
            return True
        if "flood" in wanted:
            for _ in range(FLOOD):
                self.say(session, "x" * 1024)
            return True
        if "endless" in wanted:
            while self.receive(0.05) is None:
                self.say(session, "and on ")
            return False
        for word in TEXT.split(" "):
            self.say(session, word if word == "A" else f" {word}")
            if "die-midway" in wanted:
                sys.exit(5)
        return True

    def question(self, wanted: set[str]) -> dict[str, Any]:
        """Ask for permission, or for a file, and return the client's answer."""
        if "file" in wanted:
            return dict(self.ask("fs/read_text_file", {"sessionId": "s", "path": "/etc/passwd"})["error"])
        options = [
            {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
            {"optionId": "always", "name": "Always", "kind": "allow_always"},
            {"optionId": "no", "name": "No", "kind": "reject_once"},
        ]
        answer = self.ask("session/request_permission", {"sessionId": "s", "options": options, "toolCall": {}})
        return dict(answer["result"]["outcome"])

    def wait_for_cancel(self) -> bool:
        """Wait in silence until the client cancels."""
        while (message := self.receive()) and message.get("method") != "session/cancel":
            pass
        return False


def main(arguments: list[str]) -> None:
    """Run the stand-in."""
    if "--version" in arguments:
        print("0.0.0")  # noqa: T201
        return
    model = arguments[arguments.index("--model") + 1] if "--model" in arguments else ""
    AcpProgram(model).run()


if __name__ == "__main__":
    main(sys.argv[1:])
