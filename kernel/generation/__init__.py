"""The path of a generation and of its relatives: from a conversation to tokens that are settled."""
