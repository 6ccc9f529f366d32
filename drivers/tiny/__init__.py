"""The small model that ships: its corpus, its training and its score."""
