"""Spans: what an episode knows about itself, so that training can say where to look and not only what to say."""

import msgspec


class Span(msgspec.Struct, frozen=True):
    """A stretch of one turn's text, in characters."""

    turn: int
    begin: int
    end: int

    def part(self, begin: int, end: int) -> "Span":
        """A stretch of this stretch."""
        return Span(self.turn, self.begin + begin, self.begin + end)


class Copy(msgspec.Struct, frozen=True):
    """What is said in `said` was read in `read`; `shows` are the spans that tell it from its neighbours, if any."""

    said: Span
    read: Span
    shows: tuple[Span, ...] = ()


class Match(msgspec.Struct, frozen=True):
    """The same words twice: as they were asked for, and as they stand in the text."""

    later: Span
    earlier: Span


class Notes(msgspec.Struct, frozen=True):
    """All that is known of an episode; `sentences` are those of its passages."""

    copies: tuple[Copy, ...] = ()
    matches: tuple[Match, ...] = ()
    sentences: tuple[Span, ...] = ()
