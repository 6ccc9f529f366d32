"""The window check that every model driver makes before it works: exact numbers, never truncation."""

from syscalls.driver import Generate
from syscalls.errors import Invalid, OverWindow


def check_window(call: Generate, *, window_tokens: int) -> None:
    """Raises OverWindow (EWINDOW) when prompt and max_tokens exceed the window, Invalid for what makes no sense.

    What is in `generated` counts against max_tokens, so it is not added.
    """
    asked = call.sampling.max_tokens
    if asked < 1:
        raise Invalid(f"max_tokens is {asked}: ask for at least 1")
    if not call.prompt:
        raise Invalid("an empty prompt: render at least one turn")
    total = len(call.prompt) + asked
    if total > window_tokens:
        raise OverWindow(
            f"{len(call.prompt)} prompt tokens and max_tokens {asked} are {total}; the window is {window_tokens}: "
            f"{total - window_tokens} too many"
        )
