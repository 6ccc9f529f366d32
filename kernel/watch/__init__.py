"""What can be seen of the machine: the trace, the log, the figures."""
