"""The process: start, reload, listeners, and Wirekey's own endpoints."""
