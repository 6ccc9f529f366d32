"""The system calls by family: what the gate runs once a call is let in."""
