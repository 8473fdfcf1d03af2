"""Rollup of long conversations: the rules, without I/O and without mitmproxy.

After each response, the conversation with the response is kept as a text under the hash of its messages (`history`,
`answers`, `store`). In a later request, the longest stored beginning is replaced: its messages are removed, and the
text goes in front of the system prompt (`shortening`). A long conversation is summarised first (`summary`).
"""
