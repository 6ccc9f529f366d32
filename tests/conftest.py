"""Settings of every suite: hypothesis asserts properties, never times; Ctrl-C means Ctrl-C."""

import os
import signal

import pytest
from hypothesis import Phase, settings

settings.register_profile("kernos", deadline=None, print_blob=True)
# A mutant has to be found, not explained; and what was found once is found every time.
settings.register_profile(
    "mutants", settings.get_profile("kernos"), phases=set(Phase) - {Phase.shrink, Phase.explain}, derandomize=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kernos"))


def pytest_configure(config: pytest.Config) -> None:
    """What a shell starts in the background ignores SIGINT, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
