"""Policy: input, decision, engines, obligations. Imports no mitmproxy."""
