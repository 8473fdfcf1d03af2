"""The state of open calls, what addons share, and what the wire layer asks of them."""
