"""Accounts: what may be used and what was, in a tree, and what it costs."""
