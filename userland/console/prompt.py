"""The prompt on a terminal: editing, history, completion."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from syscalls.paths import state_dir
from userland.cli.session import Session
from userland.console.candidates import Candidates

PROMPT = "kernos> "


def reader(session: Session) -> Callable[[], str | None]:
    """A function that asks for a line; None is Ctrl-D. Raises KeyboardInterrupt for Ctrl-C."""
    prompts: PromptSession[str] = PromptSession(
        history=_history(),
        completer=KernosCompleter(Candidates(session)),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
        enable_open_in_editor=False,
    )

    def read() -> str | None:
        try:
            return prompts.prompt(PROMPT)
        except EOFError:
            return None

    return read


class KernosCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        words = before.split()
        word = "" if not words or before[-1:].isspace() else words.pop()
        for text, meaning in self._candidates.for_word(words, word):
            yield Completion(text, start_position=-len(word), display_meta=meaning)


def _history() -> History:
    """In the state folder, this user's alone; in memory where that cannot be."""
    path = state_dir() / "console_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(Path(path)))
