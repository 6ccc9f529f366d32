"""The pure half of the driver for OpenAI-compatible servers: requests, events, answers, refusals; no IO."""
