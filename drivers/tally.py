"""A host's own count of what it did, kept where the answers leave, not where the driver makes them."""

from typing import final

from syscalls.driver import Embedded, Finished, Ledger, Tokens


@final
class Tally:
    """Counts what goes out. A generation's ids count when they are emitted, its prompt when it ends well; a cancelled
    one is charged the prompt it was given."""

    def __init__(self) -> None:
        self._prompt = 0
        self._generated = 0
        self._embedded = 0
        self._generations = 0
        self._cancelled = 0

    def emitted(self, tokens: Tokens) -> None:
        self._generated += len(tokens.ids)

    def finished(self, finished: Finished, *, emitted: int) -> None:
        """A generation ended well. Ids that it made without emitting them (a driver that has none) count too."""
        self._generations += 1
        self._prompt += finished.prompt_tokens
        self._generated += max(0, finished.generated_tokens - emitted)

    def cancelled(self, prompt_tokens: int) -> None:
        self._generations += 1
        self._cancelled += 1
        self._prompt += prompt_tokens

    def scored(self, prompt_tokens: int) -> None:
        """Continuations were read; one that is cancelled counts with all that was asked."""
        self._prompt += prompt_tokens

    def embedded(self, result: Embedded) -> None:
        self._embedded += result.tokens

    def ledger(self) -> Ledger:
        return Ledger(
            prompt_tokens=self._prompt,
            generated_tokens=self._generated,
            embedded_tokens=self._embedded,
            generations=self._generations,
            cancelled=self._cancelled,
        )
