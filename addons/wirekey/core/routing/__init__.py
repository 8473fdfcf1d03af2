"""Routing: to which model a call goes instead, and how its request is made to ask for it. No mitmproxy."""
