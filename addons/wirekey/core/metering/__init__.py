"""Readers of responses as they pass, the encodings of their bodies, and what a call costs. No mitmproxy."""
