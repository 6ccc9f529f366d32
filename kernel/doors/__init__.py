"""The front doors: who comes in, as whom, and for how long."""
