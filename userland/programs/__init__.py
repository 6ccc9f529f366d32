"""The programs and tools that ship, each an example of how one is written."""
