"""A system that is not Linux, as far as that can be played on one that is."""
