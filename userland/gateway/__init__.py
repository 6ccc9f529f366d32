"""The gateway: the OS process that ends TLS for clients from elsewhere and forwards their frames to the kernel."""
