"""Subclasses of mitmproxy's HTTP layers: credentials on the wire, limits, retries, and errors that an SDK understands.

Hooks cannot do these. A hook works on the flow, and every other addon, mitmweb and dumps see the flow, too. The package
is written for mitmproxy 12.2; `install` refuses other versions.
"""
