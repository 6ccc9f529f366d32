"""Programs to read and to run, the smallest first: hello, then the demo."""
