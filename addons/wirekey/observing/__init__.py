"""What operators see of the calls: metrics, traces, the line of each call in the log."""
