"""A host's own count of what it did, kept where the answers leave, not where the driver makes them."""

from typing import final

from syscalls.driver import LEDGER_PAGE, Embedded, Finished, Ledger, Tokens


@final
class Tally:
    """Counts what goes out. A generation's prompt counts from its beginning, its ids when they are emitted; one that is
    refused before its first id did nothing. With a `page`, memory that the kernel sees too, the count outlives it."""

    def __init__(self, page: memoryview | None = None) -> None:
        self._page = page
        self._prompt = 0
        self._generated = 0
        self._embedded = 0
        self._generations = 0
        self._cancelled = 0

    def began(self, prompt_tokens: int) -> None:
        """A generation has its prompt, and what it goes on from."""
        self._prompt += prompt_tokens
        self._show()

    def emitted(self, tokens: Tokens) -> None:
        """Ids go out."""
        self._generated += len(tokens.ids)
        self._show()

    def finished(self, finished: Finished, *, begun: int, emitted: int) -> None:
        """A generation ended well. The driver's own count of the prompt is what counts, and ids that it made without
        emitting them (a driver that has none) too."""
        self._generations += 1
        self._prompt += finished.prompt_tokens - begun
        self._generated += max(0, finished.generated_tokens - emitted)
        self._show()

    def cancelled(self) -> None:
        """A generation was cancelled; what it has done is counted."""
        self._generations += 1
        self._cancelled += 1

    def refused(self, *, begun: int, emitted: int) -> None:
        """A generation failed."""
        if not emitted:
            self._prompt -= begun
            self._show()

    def scored(self, prompt_tokens: int) -> None:
        """Continuations were read; one that is cancelled counts with all that was asked."""
        self._prompt += prompt_tokens
        self._show()

    def embedded(self, result: Embedded) -> None:
        """Texts were embedded."""
        self._embedded += result.tokens
        self._show()

    def counted(self) -> tuple[int, int]:
        """Tokens read, and generated."""
        return self._prompt + self._embedded, self._generated

    def ledger(self) -> Ledger:
        return Ledger(
            prompt_tokens=self._prompt,
            generated_tokens=self._generated,
            embedded_tokens=self._embedded,
            generations=self._generations,
            cancelled=self._cancelled,
        )

    def _show(self) -> None:
        if self._page is not None:
            LEDGER_PAGE.pack_into(self._page, 0, *self.counted())
