"""A contradiction of our own: never caught below boot."""

from typing import final


@final
class KernelPanic(Exception):
    """The kernel found itself in a state that its own rules forbid; the message tells the story. Please report it."""
