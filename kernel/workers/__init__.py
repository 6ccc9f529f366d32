"""Workers: how programs and tools run behind the sandbox, and how they end."""
