"""Tests without IO, by module."""
