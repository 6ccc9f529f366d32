"""The only IO of the ABI: the peer over a blocking socket and over an async transport."""
