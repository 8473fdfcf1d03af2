"""Wirekey: mitmproxy addons that hold the provider keys, decide each call and account for it."""

__version__ = "0.1.0"
