"""The state of calls under way, what addons share, and what the wire layer asks of them."""
