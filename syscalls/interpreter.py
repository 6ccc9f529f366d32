"""Which Python this is."""

from importlib.machinery import EXTENSION_SUFFIXES


def interpreter() -> str:
    """The running interpreter as far as compiled packages must fit it, as in `cpython-311-x86_64-linux-gnu`."""
    return EXTENSION_SUFFIXES[0].strip(".").removesuffix(".so")
