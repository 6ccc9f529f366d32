"""The doors of an executable: an OpenAI-compatible server and an MCP server, on the loopback that is its own."""
