"""One HTTP exchange: the addresses that may be connected to, the connection, the answer as it comes."""
