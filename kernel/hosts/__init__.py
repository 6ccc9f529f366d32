"""Driver hosts: their OS processes, and the ports through which the kernel uses what they serve."""
