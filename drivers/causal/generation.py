"""One generation: what was read, what was made, what of it is certain text, and whether it has ended."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, final

from drivers.certain import Certain
from syscalls.driver import Finished, Generate, Tokens

Outcome = Tokens | Finished | Exception


class Job(Protocol):
    """What an engine works on: it is read, and what comes of it goes to its sink."""

    cancelled: bool
    sink: Callable[[Any], None]


Batch = list[tuple[Job, Any]]
"""What is handed to the loop at once, in order: jobs and their outcomes."""


def merged(batch: Batch) -> Batch:
    """The same with the items of each generation joined to one; its end, if it has ended, comes after it."""
    found: dict[int, tuple[Job, list[Tokens], list[Any]]] = {}
    for job, came in batch:
        _, tokens, ends = found.setdefault(id(job), (job, [], []))
        if isinstance(came, Tokens):
            tokens.append(came)
        else:
            ends.append(came)
    out: Batch = []
    for job, tokens, ends in found.values():
        if tokens:
            ids = tuple(i for each in tokens for i in each.ids)
            out.append((job, Tokens(ids=ids, text="".join(each.text for each in tokens))))
        out.extend((job, end) for end in ends)
    return out


@final
class Voice:
    """Ids to text for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        fast = getattr(tokenizer, "backend_tokenizer", None)
        self._decode: Callable[..., str] = (fast or tokenizer).decode

    def text(self, ids: Sequence[int]) -> str:
        return self._decode(list(ids), skip_special_tokens=True)

    def whole(self, ids: Sequence[int]) -> str:
        """As `text`, special tokens by name."""
        return self._decode(list(ids), skip_special_tokens=False)


@final
class Speech:
    """Ids to text piece by piece: half a character waits for its other half.

    A token's text may depend on the one before it (spaces, bytes), so each piece is the difference of two decodings
    that begin a few tokens earlier, as text-generation-inference and vLLM do.
    """

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._ids: list[int] = []
        self._from = 0
        self._read = 0

    def take(self, token: int) -> str:
        """The text that `token` makes certain."""
        self._ids.append(token)
        text = self._voice.text(self._ids[self._from :])
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        piece = text[len(self._known()) :]
        self._from, self._read = self._read, len(self._ids)
        return piece

    def rest(self) -> str:
        """What is left at the end, broken characters included."""
        return self._voice.text(self._ids[self._from :])[len(self._known()) :]

    def _known(self) -> str:
        return self._voice.text(self._ids[self._from : self._read])


@final
class Generation:
    """The state of one generation. The engine's thread feeds it; `sink` takes what comes of it on the loop's."""

    def __init__(self, call: Generate, voice: Voice, ends: frozenset[int], sink: Callable[[Outcome], None]) -> None:
        self.sampling = call.sampling
        self.sink = sink
        self.cancelled = False
        self.cached_tokens = 0
        self.fed = 0
        self._ends = ends
        self._speech = Speech(voice)
        self._certain = Certain(call.sampling.stop)
        self._prompt_tokens = len(call.prompt)
        self._resumed = len(call.generated)
        self._ended: Literal["stop", "length", "stop_string"] | None = None
        self.ids = list(call.prompt)
        for token in call.generated:
            self._take(token)

    @property
    def ended(self) -> bool:
        return self._ended is not None

    @property
    def made(self) -> int:
        """Ids generated so far, resumed ones included: the position that the next draw depends on."""
        return len(self.ids) - self._prompt_tokens

    @property
    def reusable(self) -> int:
        """How many of its tokens need no logits of their own: all but the last."""
        return len(self.ids) - 1

    def accept(self, token: int) -> Tokens:
        """Takes the next id. Afterwards `ended` may be true."""
        text = self._take(token)
        return Tokens(ids=(token,), text=text + (self._flush() if self.ended else ""))

    def finished(self) -> Finished:
        """How it ended; only when it has."""
        assert self._ended is not None
        self._flush()
        calls = tuple(self._certain.calls)
        return Finished(
            finish="calls" if calls and self._ended != "length" else self._ended,
            text=self._certain.text,
            calls=calls,
            prompt_tokens=self._prompt_tokens + self._resumed,
            generated_tokens=self.made - self._resumed,
            cached_tokens=self.cached_tokens,
        )

    def _take(self, token: int) -> str:
        self.ids.append(token)
        if token in self._ends:
            self._ended = "stop"
            return ""
        text = self._certain.feed(self._speech.take(token))
        if self._certain.stopped:
            self._ended = "stop_string"
        elif self.made >= self.sampling.max_tokens:
            self._ended = "length"
        return text

    def _flush(self) -> str:
        """What was held back; once."""
        if self._certain.stopped:
            return ""
        return self._certain.feed(self._speech.rest()) + self._certain.finish()
