"""Frames nobody would write: everyday words at random around a cue and a slot.

A model of this size learns the frames it is shown by heart and trips over the next one. Random frames cannot be
learned by heart: what is left to learn is which words are only frame, which one is the cue, and where the
value begins and ends.
"""

import random

from drivers.tiny.words import listed


def _everyday(rng: random.Random, most: int) -> list[str]:
    return rng.choices(listed("everyday"), k=rng.randint(0, most))


def frame(rng: random.Random, kind: str, slot: str) -> str:
    """A frame for that kind of request around the slot; a statement to keep is always set off by a mark or `that`."""
    cue = [rng.choice(listed(f"cues_{kind}"))] if kind not in ("question", "calculate") or rng.random() < 0.5 else []
    set_off = kind == "remember"
    if rng.random() < (0.3 if set_off else 0.35):
        after = (". ", ", ", "; ", ": ") if set_off else (" ", " ", " ", ", ", ": ", "? ", ". ")
        words = " ".join(_everyday(rng, 4) + cue + _everyday(rng, 3)) or "please"
        lead = "" if set_off or rng.random() < 0.5 else " ".join(_everyday(rng, 4)) + " "
        return f"{lead}{slot}{rng.choice(after)}{words}{_end(rng)}"
    before = (": ", ": ", ", ", ". ", " that ", " that ") if set_off else (" ", " ", " ", " ", ": ", ", ", ". ")
    lead = " ".join(_everyday(rng, 5) + cue + _everyday(rng, 0 if set_off and rng.random() < 0.5 else 4))
    rest = "" if set_off or rng.random() < 0.6 else f" {' '.join(_everyday(rng, 4))}"
    return f"{lead}{rng.choice(before)}{slot}{rest}{_end(rng)}".strip()


def layout(rng: random.Random) -> str:
    """A text `{p}` and a question `{q}` in either order, with words of all kinds between."""

    def words(most: int) -> str:
        named = [rng.choice(listed("texts"))] if rng.random() < 0.5 else []
        return " ".join(_everyday(rng, most) + named + _everyday(rng, 2))

    mark = rng.choice((":", ":", ".", ",", "", " -", "=", ">", ":\n", ".\n\n", "\n", "\n\n"))
    break_ = rng.choice((" ", "\n", "\n\n", " ", "\n\n", "\n---\n", "\n===\n"))
    text = rng.choice(("{p}", "{p}", "{p}", '"{p}"', "({p})", "[{p}]", "'{p}'"))
    if rng.random() < 0.6:
        lead = f"{words(5)}{mark} " if rng.random() < 0.7 else ""
        between = f"{words(3)}{rng.choice((':', ',', '.', '?'))} " if rng.random() < 0.4 else ""
        return f"{lead.lstrip()}{text}{break_}{between}{{q}}"
    between = f"{words(4)}{mark} " if rng.random() < 0.6 else ""
    rest = f"{break_}{words(4)}" if rng.random() < 0.2 else ""
    return f"{{q}}{break_}{between}{text}{rest}"


def _end(rng: random.Random) -> str:
    return rng.choice(("", "", ".", "?", "!", "?", "."))
