"""Everything that is a client: SDK, command line, console, shipped programs."""
