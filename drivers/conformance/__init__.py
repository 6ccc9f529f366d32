"""One suite for all drivers of a kind, run over a real host: `python -m drivers.conformance DRIVER --kind KIND`."""
