"""Connections of many messages: frames of WebSockets, and what the messages of each protocol mean. Pure."""
