"""What clients of ABI 1 said and heard, recorded once and replayed for ever: see `tests.compat.record`."""
