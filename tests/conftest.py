"""Settings of every suite: hypothesis asserts properties, never times; Ctrl-C means Ctrl-C."""

import signal

import pytest
from hypothesis import settings

settings.register_profile("kernos", deadline=None, print_blob=True)
settings.load_profile("kernos")


def pytest_configure(config: pytest.Config) -> None:
    """What a shell starts in the background ignores SIGINT, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
