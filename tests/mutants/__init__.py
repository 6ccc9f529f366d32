"""One-line breaks of the code, and what each must turn red."""
