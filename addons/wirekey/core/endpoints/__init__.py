"""The HTTP endpoints of Wirekey itself: requests and replies, health and readiness, and the listener of operators."""
