"""Reading of large request bodies in a process of its own. Imports no mitmproxy."""
