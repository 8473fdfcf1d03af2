"""Runs Gemini CLI as the program behind the backend gemini-cli-acp, in a network that leads nowhere.

unshare --net --mount python -m tests.clients.agents.acp FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openai

from tests.clients.agents.programs import CONTENT, NODE
from tests.clients.agents.trap import Trap
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from wirekey_simulator.session import MARK

MODEL = "gemini-cli-acp:google/gemini-2.5-flash"
STEPS = [
    {"text": "I am behind the protocol."},
    {"tool": "write_file", "input": {"file_path": "note.txt", "content": CONTENT}},
    {"text": "It was refused: {result}"},
]


def main() -> None:
    folder = Path(sys.argv[1])
    trap, simulator = Trap(folder), SimulatorThread(folder / "simulator")
    home, work = folder / "home", folder / "work"
    work.mkdir()
    (home / ".gemini").mkdir(parents=True)
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    own = {"GEMINI_API_KEY": PROVIDER_KEYS["gemini"], "GOOGLE_GEMINI_BASE_URL": simulator.url}
    backend = {
        "enabled": True,
        "gemini_cli_executable": str(NODE / ".bin/gemini"),
        "workspace": str(work),
        "environment": list(own),
    }
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    environ = KEY_ENVIRONMENT | own | {"HOME": str(home), "NODE_EXTRA_CA_CERTS": str(simulator.ca_file)}
    configuration = behind(simulator, listen=listen, backends={"gemini-cli-acp": backend})
    proxy = Wirekey(folder / "wirekey", configuration, environ=environ)
    try:
        token = proxy.add_agent("alice")
        base = f"http://{proxy.running.gateway}/v1"
        client = openai.OpenAI(api_key=token, base_url=base, max_retries=0, timeout=240)
        found = conversation(client)
        found |= {
            "events": proxy.finished_events(2),
            "keys": sent(simulator, "x-goog-api-key"),
            "note": (work / "note.txt").exists(),
            "past": trap.seen,
        }
    finally:
        proxy.stop()
        simulator.stop()
    (folder / "acp.json").write_text(json.dumps(found))


def conversation(client: openai.OpenAI) -> dict:
    """Two turns of one session: a text, and then a tool that the program asks permission for."""
    messages = [{"role": "user", "content": f"Say who you are. {MARK} {json.dumps(STEPS)}"}]
    first = client.chat.completions.create(model=MODEL, messages=messages).choices[0]
    messages += [
        {"role": "assistant", "content": first.message.content},
        {"role": "user", "content": "Write note.txt."},
    ]
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
    second = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    return {"first": first.message.content, "finish": first.finish_reason, "second": second, "reasons": reasons}


def sent(simulator: SimulatorThread, name: str) -> list[str]:
    """The values of a header in all requests for models."""
    return [
        value.decode()
        for seen in simulator.seen
        if "ontent" in seen.target
        for header, value in seen.headers
        if header.decode().lower() == name
    ]


if __name__ == "__main__":
    main()
