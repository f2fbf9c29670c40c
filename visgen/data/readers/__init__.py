"""Readers of public data layouts; each registers itself in READERS under its format's name."""
