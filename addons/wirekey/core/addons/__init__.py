"""The mitmproxy addons that a call passes, one question a file. `server/bundle.py` lists them in order."""
