"""The ABI: every word that kernel, drivers, workers and clients say to each other, and nothing else."""
