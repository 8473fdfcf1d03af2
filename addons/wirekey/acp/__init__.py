"""Prompts to a program on this machine by the Agent Client Protocol: https://agentclientprotocol.com.

`connection` is the protocol without I/O, `conversation` and `responses` the formats on the other side, `process` and
`pool` start and end programs, and `bridge` listens for Wirekey's own calls.
"""
