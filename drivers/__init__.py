"""Device drivers and the host that serves them; they know the ABI and nothing of the kernel."""
