"""How a request is worded: a pattern, an opening, a closing, noise, casing; the values in it stay exact."""

import random
import re

from drivers.tiny import values
from drivers.tiny.patterns import SLOT, draw
from drivers.tiny.templates import CLOSINGS, OPENINGS, training
from drivers.tiny.words import listed

_QUOTES = (("'", "'"), ('"', '"'), ("`", "`"), ("*", "*"), ("<", ">"))
SHOUTED_SHARE, QUOTED_SHARE = 0.03, 0.12
_TRAIN_OPENINGS, _TRAIN_CLOSINGS = training(OPENINGS), training(CLOSINGS)


def dressed(rng: random.Random, text: str) -> str:
    """A frame with an opening before it or a closing behind it at times, its marks tidied."""
    if rng.random() < 0.3:
        text = f"{_filled(rng, draw(rng.choice(_TRAIN_OPENINGS), rng))} {text}"
    if rng.random() < 0.2:
        text = _closed(rng, text)
    return re.sub(r"[.,:]+([,?!])", r"\1", re.sub(r" ([,.?!:;])", r"\1", text))


def _closed(rng: random.Random, text: str) -> str:
    closing = draw(rng.choice(_TRAIN_CLOSINGS), rng)
    if text.endswith("}"):
        between = "" if closing.startswith(",") else rng.choice((". ", ". ", ", "))
    else:
        between = rng.choice((" ", " ", ". ", ", "))
    return f"{text}{between}{closing}"


def _filled(rng: random.Random, text: str) -> str:
    return text.replace("{noun}", values.word(rng))


def spoiled(rng: random.Random, text: str) -> str:
    """A word or two of the frame lost, mistyped or joined by a filler.

    Never by a word that could belong to the value, nor one right beside it: where a value begins must stay clear.
    """
    words = text.split(" ")
    for _ in range(rng.choice((1, 1, 2))):
        plain = [i for i, w in enumerate(words) if w.isalpha() and not _beside_slot(words, i)]
        if not plain:
            break
        at, kind = rng.choice(plain), rng.random()
        if kind < 0.2 and len(plain) > 3:
            words.pop(at)
        elif kind < 0.6:
            words[at] = _typo(rng, words[at])
        else:
            words.insert(at, rng.choice(listed("fillers")))
    return " ".join(words)


def _beside_slot(words: list[str], at: int) -> bool:
    return any("{" in word for word in words[max(0, at - 1) : at + 2])


def _typo(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1 :]
    if kind < 0.7:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[at + 1 :]


def cased(
    rng: random.Random, frame: str, slots: dict[str, str], *, shouted_share: float = SHOUTED_SHARE
) -> tuple[str, dict[str, str]]:
    """The frame with a capital in front, or lower, or shouting that often (then the values shout too)."""
    kind = rng.random()
    if kind < shouted_share:
        return SLOT.sub(lambda m: m.group().lower(), frame.upper()), {k: v.upper() for k, v in slots.items()}
    if kind < 0.6:
        if frame.startswith("{") and rng.random() < 0.5:
            first = SLOT.match(frame)
            assert first is not None
            name = first.group()[1:-1]
            slots = slots | {name: slots[name][:1].upper() + slots[name][1:]} if name in slots else slots
        frame = frame[:1].upper() + frame[1:]
        frame = re.sub(r"([.?!] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), frame)
        frame = re.sub(r"\bi('m|)\b", lambda m: "I" + m.group(1), frame)
    elif kind < 0.75 and not re.search(r"[\"'`]", frame):
        frame = re.sub(r"[?!.]+$", "", frame) + rng.choice(("", "?", "!", ".", "...", " ?", "??"))
    return frame, slots


def quoted(rng: random.Random, text: str, share: float) -> str:
    """The value in quotes of some kind, that often."""
    if rng.random() >= share:
        return text
    left, right = rng.choice(_QUOTES)
    return text if left in text else f"{left}{text}{right}"
