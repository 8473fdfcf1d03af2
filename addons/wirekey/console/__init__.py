"""What Wirekey itself answers over HTTP: tokens and their keys, health, readiness."""
