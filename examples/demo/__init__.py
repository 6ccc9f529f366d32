"""The demo: twelve agents at once on real documents under one kernel, with things going wrong on purpose."""
