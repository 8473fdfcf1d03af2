"""What operators see of calls: metrics, traces, and a log line for each call."""
