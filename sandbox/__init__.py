"""Isolation: the zygote, the jail it puts workers in, and the host's and guest's halves of both."""
