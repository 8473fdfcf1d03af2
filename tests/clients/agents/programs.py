"""The coding agents, and how each of them does the same work without a user: write a file, read it back, answer."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wirekey_simulator.google_oauth import access_token_of
from wirekey_simulator.session import MARK

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache") / "wirekey-agents"
NODE = CACHE / "node_modules"
PYTHON = CACHE / "python" / "bin"
CONTENT = "A canary sings behind Wirekey."
ANSWER = "I wrote it and read it back:"
READ = "cat note.txt"


@dataclass(frozen=True)
class Agent:
    """A coding agent: its command, and the tool calls with which its model does the work."""

    command: list[str]
    steps: list[dict[str, Any]]
    provider: str
    variables: dict[str, str] = field(default_factory=dict)
    """What a user sets to choose a provider. Never an address, a key or a proxy."""
    upstream: str = ""
    """The provider of its model, if that is another one."""
    signed_in: bool = False
    """Whether it has an account at its provider, whose token Wirekey passes through."""
    files: dict[str, Any] = field(default_factory=dict)
    """JSON files in its home folder, as a login leaves them."""
    at_gateway: bool = True
    """Whether its model calls use the gateway in gateway mode."""
    options: tuple[str, ...] = ()
    """More options of `exec`."""

    def arguments(self, folder: Path) -> list[str]:
        prompt = f"Write note.txt and read it back. {MARK} {json.dumps([*self.steps, {'text': ANSWER + ' {result}'}])}"
        return [part.format(prompt=prompt, folder=folder) for part in self.command]


def steps(write: tuple[str, dict[str, Any]], read: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"tool": name, "input": arguments} for name, arguments in (write, read)]


SHELL_WRITE = f"printf '%s' '{CONTENT}' > note.txt"
CLAUDE = [
    str(NODE / "@anthropic-ai/claude-code-linux-x64/claude"), "-p", "{prompt}", "--allowedTools", "Write,Bash",
]  # fmt: skip
CLAUDE_STEPS = steps(
    ("Write", {"file_path": "note.txt", "content": CONTENT}),
    ("Bash", {"command": READ, "description": "Read the note"}),
)
ACCOUNT_TOKEN = "sk-ant-oat01-token-of-an-account-5e0c7d"
LOGIN = {
    ".claude/.credentials.json": {
        "claudeAiOauth": {
            "accessToken": ACCOUNT_TOKEN,
            "refreshToken": "sk-ant-ort01-refresh-token-of-an-account-9b1f",
            "expiresAt": 4_102_444_800_000,
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        }
    }
}
"""What `claude` writes after `/login`."""
GOOGLE_REFRESH_TOKEN = "1//refresh-token-of-an-account-3b9c"
GOOGLE_LOGIN = {
    ".gemini/oauth_creds.json": {
        "access_token": "ya29.token-that-has-ended",
        "refresh_token": GOOGLE_REFRESH_TOKEN,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "token_type": "Bearer",
        "expiry_date": 1_700_000_000_000,
    },
    ".gemini/google_accounts.json": {"active": "ann@example.com", "old": []},
    ".gemini/settings.json": {"security": {"auth": {"selectedType": "oauth-personal"}}},
}
"""What Gemini CLI writes after a login with Google. Its access token has ended, so that it asks for another one."""
ACCOUNTS = {
    "anthropic": [ACCOUNT_TOKEN],
    "code_assist": [access_token_of(GOOGLE_REFRESH_TOKEN)],
    "google_oauth": [GOOGLE_REFRESH_TOKEN],
    "vertex": [access_token_of(GOOGLE_REFRESH_TOKEN)],
}
"""Provider → the tokens of accounts that it accepts, and no others."""
CODEX = [
    str(NODE / ".bin/codex"), "exec", "--dangerously-bypass-approvals-and-sandbox", "--model", "gpt-5", "{prompt}",
]  # fmt: skip
WITH_BASE_URL = ["sh", "-c", 'CODEX_API_KEY=$OPENAI_API_KEY exec "$0" -c "openai_base_url=$OPENAI_BASE_URL" "$@"']
"""What the guide advises for scripts. Without the gateway, the variable is empty, and so is the setting."""
CODEX_STEPS = steps(("exec_command", {"cmd": SHELL_WRITE}), ("exec_command", {"cmd": READ}))
GEMINI = [
    str(NODE / ".bin/gemini"), "--yolo", "--skip-trust", "--model", "gemini-2.5-flash", "--prompt", "{prompt}",
]  # fmt: skip
GEMINI_STEPS = steps(
    ("write_file", {"file_path": "note.txt", "content": CONTENT}),
    ("run_shell_command", {"command": READ}),
)
OPENCODE = [str(NODE / "opencode-linux-x64/bin/opencode"), "run", "--model"]
OPENCODE_STEPS = steps(
    ("write", {"filePath": "note.txt", "content": CONTENT}), ("bash", {"command": READ, "description": "Read the note"})
)
LLM_TOOLS = """
import pathlib, subprocess
def write_file(path: str, content: str) -> str:
    pathlib.Path(path).write_text(content)
    return "written"
def run_shell(command: str) -> str:
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout
"""
LLM = [str(PYTHON / "llm"), "prompt", "{prompt}", "--functions", LLM_TOOLS.replace("{", "{{").replace("}", "}}"), "-m"]
LLM_STEPS = [
    {"text": "I do that.", **step}
    for step in steps(
        ("write_file", {"path": "note.txt", "content": CONTENT}),
        ("run_shell", {"command": READ}),
    )
]
"""The model says something with its calls: llm-anthropic sends a turn of calls alone back with the text " ", which
Anthropic refuses."""
AIDER = [
    str(PYTHON / "aider"), "--message", "{prompt}", "--yes-always", "--no-git", "--no-pretty", "--no-check-update",
    "--no-show-release-notes", "--edit-format", "whole", "--map-tokens", "0", "--auto-test", "--test-cmd",
    f"{READ}; test -e seen || (touch seen; exit 1)", "note.txt", "--model",
]  # fmt: skip
AIDER_STEPS = [{"text": f"note.txt\n```\n{CONTENT}\n```\n"}, {"text": "Ok."}]
"""aider itself adds the second one to its conversation."""
MINI = [str(PYTHON / "mini"), "--yolo", "--exit-immediately", "--task", "{prompt}", "--model"]
MINI_STEPS = [
    {"tool": "bash", "input": {"command": command}}
    for command in (SHELL_WRITE, f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; {READ}")
]

AGENTS = {
    "claude-code": Agent(CLAUDE, CLAUDE_STEPS, "anthropic"),
    "claude-code-bedrock": Agent(CLAUDE, CLAUDE_STEPS, "bedrock", {"CLAUDE_CODE_USE_BEDROCK": "1"}),
    "claude-code-token": Agent(
        CLAUDE,
        CLAUDE_STEPS,
        "anthropic",
        {"CLAUDE_CODE_OAUTH_TOKEN": ACCOUNT_TOKEN},
        signed_in=True,
        at_gateway=False,
    ),
    "claude-code-login": Agent(CLAUDE, CLAUDE_STEPS, "anthropic", signed_in=True, files=LOGIN, at_gateway=False),
    "claude-code-headers": Agent(
        CLAUDE,
        CLAUDE_STEPS,
        "anthropic",
        {
            "CLAUDE_CODE_OAUTH_TOKEN": ACCOUNT_TOKEN,
            "ANTHROPIC_BASE_URL": "http://{gateway}",
            "ANTHROPIC_CUSTOM_HEADERS": "x-api-key: {token}",
        },
        signed_in=True,
    ),
    "codex": Agent(CODEX, CODEX_STEPS, "openai", at_gateway=False),
    "codex-base-url": Agent([*WITH_BASE_URL, *CODEX], CODEX_STEPS, "openai"),
    "gemini-cli": Agent(GEMINI, GEMINI_STEPS, "gemini"),
    "gemini-cli-login": Agent(
        GEMINI,
        GEMINI_STEPS,
        "code_assist",
        {"CODE_ASSIST_ENDPOINT": "http://{gateway}", "GEMINI_CLI_CUSTOM_HEADERS": "x-goog-api-key: {token}"},
        signed_in=True,
        files=GOOGLE_LOGIN,
    ),
    "gemini-cli-vertex": Agent(
        ["sh", "-c", 'unset GOOGLE_API_KEY; exec "$0" "$@"', *GEMINI],
        GEMINI_STEPS,
        "vertex",
        {"GOOGLE_CLOUD_PROJECT": "my-project", "GOOGLE_CLOUD_LOCATION": "europe-west4"},
        signed_in=True,
        files={
            ".config/gcloud/application_default_credentials.json": {
                "type": "authorized_user",
                "client_id": "client-of-gcloud",
                "client_secret": "secret-of-gcloud",
                "refresh_token": GOOGLE_REFRESH_TOKEN,
            },
            ".gemini/settings.json": {"security": {"auth": {"selectedType": "vertex-ai"}}},
        },
        at_gateway=False,
    ),
    "opencode-openai": Agent([*OPENCODE, "openai/gpt-4o", "{prompt}"], OPENCODE_STEPS, "openai"),
    "opencode-anthropic": Agent([*OPENCODE, "anthropic/claude-sonnet-4-5", "{prompt}"], OPENCODE_STEPS, "anthropic"),
    "opencode-google": Agent([*OPENCODE, "google/gemini-2.5-flash", "{prompt}"], OPENCODE_STEPS, "gemini"),
    "aider-openai": Agent([*AIDER, "openai/gpt-4o"], AIDER_STEPS, "openai"),
    "aider-gemini": Agent([*AIDER, "gemini/gemini-2.5-flash"], AIDER_STEPS, "gemini"),
    "aider-anthropic": Agent([*AIDER, "anthropic/claude-sonnet-4-5"], AIDER_STEPS, "anthropic"),
    "mini-openai": Agent([*MINI, "openai/gpt-4o"], MINI_STEPS, "openai"),
    "mini-gemini": Agent([*MINI, "gemini/gemini-2.5-flash"], MINI_STEPS, "gemini"),
    "llm-gemini": Agent([*LLM, "gemini-2.5-flash"], LLM_STEPS, "gemini", at_gateway=False),
    "llm-anthropic": Agent([*LLM, "anthropic/claude-sonnet-4-5"], LLM_STEPS, "anthropic"),
}
TRANSLATED = {
    "openai": "gpt-5",
    "gemini": "gemini-3-pro-preview",
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""Models behind the names `to-openai` and so on, which agents of other providers ask for."""
DROPPED = ["tools.namespace", "tools.web_search"]
"""Tools of Codex that OpenAI runs. No other provider can, so the operator lets them go."""


def on(name: str, provider: str, **variables: str) -> Agent:
    """Return an agent that asks for a model of another provider."""
    agent, model = AGENTS[name], f"to-{provider}"
    command = list(agent.command)
    if "--model" in command:
        command[command.index("--model") + 1] = model
    else:
        command += ["--model", model]
    return replace(agent, command=command, upstream=provider, variables={**agent.variables, **variables})


CLAUDE_MODELS = ("ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
AGENTS |= {
    f"claude-code-on-{provider}": on("claude-code", provider, **dict.fromkeys(CLAUDE_MODELS, f"to-{provider}"))
    for provider in ("gemini", "openai", "bedrock")
}
AGENTS |= {f"codex-on-{provider}": on("codex", provider) for provider in ("anthropic", "gemini")}
AGENTS["gemini-cli-on-anthropic"] = on("gemini-cli", "anthropic")
BUDGET = 0.05
"""US dollars. The model of an agent with a budget asks for its tool so often that the budget ends the session."""


def with_budget(name: str) -> Agent:
    """Return an agent whose run has a budget, and whose work costs more."""
    agent = AGENTS[name]
    # Each command differs, because agents stop a model that repeats itself.
    again = json.dumps(agent.steps[1])
    steps = [json.loads(again.replace(READ, f"{READ}; : {number}")) for number in range(100)]
    return replace(agent, steps=[agent.steps[0], *steps], options=("--budget", str(BUDGET), "--stop"))


def with_sub_agents() -> Agent:
    """Return Claude Code with a budget, which a sub-agent of its sub-agent spends. It asks for a model of low price."""
    read = [
        {"tool": "Bash", "input": {"command": f"{READ}; : {number}", "description": "Read"}} for number in range(100)
    ]
    lower = sub_agent([*read, {"text": "Done."}])
    upper = sub_agent([lower, {"text": "Done."}])
    command = [*CLAUDE[:-1], f"{CLAUDE[-1]},Agent", "--model", "haiku"]
    return replace(with_budget("claude-code"), command=command, steps=[upper, {"text": "Done."}])


def sub_agent(script: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the tool call that starts a sub-agent of Claude Code, which waits for it."""
    prompt = f"Read note.txt. {MARK} {json.dumps(script)}"
    given = {"description": "Read the note", "prompt": prompt, "subagent_type": "general-purpose"}
    return {"tool": "Agent", "input": {**given, "run_in_background": False}}


BUDGETED = ("claude-code", "codex", "gemini-cli", "opencode-anthropic")
AGENTS |= {f"{name}-budget": with_budget(name) for name in BUDGETED}
AGENTS["claude-code-budget"] = with_sub_agents()
MODES = ("proxy", "gateway")
ONLY_AT_GATEWAY = (
    *("opencode-anthropic", "opencode-google", "aider-gemini"),
    *("claude-code-on-openai", "claude-code-on-bedrock", "codex-on-gemini"),
)
MODES_OF = dict.fromkeys(AGENTS, MODES) | dict.fromkeys(ONLY_AT_GATEWAY, ("gateway",))
"""The modes in which each agent runs. A program has an address for each of its providers at the gateway, but finds the
proxy in the same way for all of them, unless it calls one with another library, as Claude Code does for Bedrock."""
MODES_OF |= {
    f"{name}-budget": (mode,) for name, mode in zip(BUDGETED, ("gateway", "proxy", "proxy", "gateway"), strict=True)
}
"""`exec` ends a program in the same way in both modes."""
PROXY, GATEWAY = "127.0.0.1", "127.0.0.2"
"""Where the proxy and the gateway listen. In the record, a client has the address that it connected to."""
