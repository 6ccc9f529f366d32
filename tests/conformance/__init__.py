"""One suite over all drivers of a kind, in real hosts."""
