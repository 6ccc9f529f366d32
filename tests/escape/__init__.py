"""The escape corpus: hostile programs, one file each; what refuses them, and what happens when that is taken away."""
