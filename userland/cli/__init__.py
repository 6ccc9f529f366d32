"""The command line: `kernos` and what it is made of; quick to start, so no loop and no heavy import here."""
