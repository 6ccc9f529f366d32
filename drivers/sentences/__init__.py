"""The inside of the embedding driver: where a model lies, and what runs it; torch is imported by `model.load` alone."""
