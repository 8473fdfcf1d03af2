"""mitmproxy's HTTP layer, ours by subclass: credentials on the wire, limits, and errors that an SDK understands.

Only a layer can do these: a hook sees the flow, and what a hook can see every other addon, mitmweb page and
dump can see too. Written against mitmproxy 12.2; `wire.install` refuses a version it does not know.
"""
