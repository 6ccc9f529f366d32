"""Hostile programs of the tier `files`, which lie to their supervisor or race it. As in `tests.escape.programs`, but
what refuses them is the supervisor, and all are given `inside` to read and write and `tcp_given` to connect to."""
