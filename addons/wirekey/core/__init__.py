"""The core: what every call needs. It never imports a feature."""
