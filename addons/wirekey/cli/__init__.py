"""The wirekey command: one module for each subcommand."""
