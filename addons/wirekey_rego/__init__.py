"""The Rego front end: rewrites policies so that the engine regorus decides them as OPA does."""
