"""The window check that every model driver makes before it works: exact numbers, never truncation."""

from syscalls.driver import Generate, Score
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


def check_score(call: Score, *, window_tokens: int) -> None:
    """Raises OverWindow (EWINDOW) when the prompt and one of the continuations exceed the window, Invalid for what
    makes no sense."""
    if not call.prompt:
        raise Invalid("an empty prompt: nothing comes before the first token of a text; give at least one token")
    if not call.continuations or not all(call.continuations):
        raise Invalid("an empty continuation: give at least one token of each")
    longest = max(map(len, call.continuations))
    total = len(call.prompt) + longest
    if total > window_tokens:
        raise OverWindow(
            f"{len(call.prompt)} prompt tokens and a continuation of {longest} are {total}; the window is "
            f"{window_tokens}: {total - window_tokens} too many"
        )


def read_by(call: Score) -> int:
    """How many tokens a call of score has read in all; of texts, an upper bound."""
    ids = sum(len(call.prompt) + len(each) for each in call.continuations)
    return ids + sum(len((call.prompt_text + text).encode()) for text in call.texts)
