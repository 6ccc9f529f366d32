"""The parts of the simulated devices: their tokens, what they say, how they measure texts."""
