"""Packages: building, signing, checking, installing and removing wheels that bring programs and tools."""
