"""The HTTP endpoints of Wirekey itself: tokens and their keys, health, readiness, and the live page."""
