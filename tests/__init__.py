"""Tests of every kind: unit, end to end, conformance."""
