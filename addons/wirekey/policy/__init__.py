"""Policy: may this agent make this call? Input, decision, engines, obligations. No mitmproxy."""
