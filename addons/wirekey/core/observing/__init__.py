"""Shows calls to operators: metrics, traces, and a log line for each call."""
