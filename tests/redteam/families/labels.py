"""Labels and names of other agents, which a program claims in headers. Only an agent's own labels are verified."""

from __future__ import annotations

from tests.redteam.technique import Technique
from tests.support.raw_client import post

LINES = (
    "X-Team: blue", "x_team: blue", "X-TEAM: blue", "X-Team: blue\r\nX-Team: red", "X-Team: " + "x" * 5000,
    "X-Team: two words", "X-Team: caf\xe9", "X-Team: {}", 'X-Team: {"team":"blue"}', "X-Team: ", "X-Team: red\tblue",
    "X-Team: \x1b[31m", "X-Team: ../../blue", "X-Team: ' OR 1=1 --", "X-Team: red,blue", "X-Wirekey-Labels: team=blue",
    "X-Wirekey-Label-Team: blue", "X-Wirekey-Agent-Id: bob", "X-Agent-Id: bob", "X-Agent-Role: admin", "X-Role: admin",
    "X-Wirekey-Run: ended", "X-Agent-Type: human", "X-Forwarded-User: bob", "X-Remote-User: bob", "Remote-User: bob",
    "X-Authenticated-User: bob", "From: bob@example.com", "X-Claude-Code-Session-Id: a\x1b[2J", "Session_id: bob",
    "Baggage: team=blue", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate: team=blue",
    "X-Wirekey-Request-Id: forged", "X-Wirekey-Simulated: true", "X-Wirekey-Workspace: /etc", "X-Wirekey-Model: gpt-5",
    "X-Wirekey-Rollup: off", "User-Agent: \x1b[31mred", "User-Agent: " + "x" * 9000, "X-Request-Id: a\x1bb",
)  # fmt: skip
TECHNIQUES = [
    Technique("labels", f"a chat with {line[:60]!r}", lambda ground, line=line: ground.in_tunnel(post(line)), True)
    for line in LINES
]
