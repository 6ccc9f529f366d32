"""The version of this kernel."""

VERSION = "0.1.0"
