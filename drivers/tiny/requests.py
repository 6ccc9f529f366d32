"""How a request is worded: a pattern, an opening, a closing, noise, casing; the values in it stay exact."""

import random
import re

from drivers.tiny import passages, values
from drivers.tiny.patterns import SLOT, draw
from drivers.tiny.templates import CLOSINGS, OPENINGS, training
from drivers.tiny.words import listed

_QUOTES = (("'", "'"), ('"', '"'), ("`", "`"), ("*", "*"), ("<", ">"))
_TRAIN_OPENINGS, _TRAIN_CLOSINGS = training(OPENINGS), training(CLOSINGS)


def worded(rng: random.Random, pattern: str, *, spoiled_share: float = 0.3, strange: bool = True) -> str:
    """The pattern drawn, with an opening or a closing at times, spoiled a little; slots are still open."""
    text = draw(pattern, rng)
    if rng.random() < spoiled_share:
        text = _spoiled(rng, text, strange=strange)
    return dressed(rng, text)


def dressed(rng: random.Random, text: str) -> str:
    """A frame with an opening before it or a closing behind it at times, its marks tidied."""
    if rng.random() < 0.3:
        text = f"{_opening(rng, text)} {text}"
    if rng.random() < 0.2:
        text = _closed(rng, text)
    return re.sub(r"[.,:]+([,?!])", r"\1", re.sub(r" ([,.?!])", r"\1", text))


def _opening(rng: random.Random, text: str) -> str:
    """Loose words never stand right before a statement to keep: nobody could tell them apart."""
    choices = [o for o in _TRAIN_OPENINGS if not (text.startswith("{f}") and "{noise}" in o)]
    return _filled(rng, draw(rng.choice(choices), rng))


def _closed(rng: random.Random, text: str) -> str:
    closing = draw(rng.choice(_TRAIN_CLOSINGS), rng)
    if text.endswith("}") or closing == "{noise}":
        between = "" if closing.startswith(",") else ". " if closing == "{noise}" else rng.choice((". ", ". ", ", "))
    else:
        between = rng.choice((" ", " ", ". ", ", "))
    return f"{text}{between}{_filled(rng, closing)}"


def noise(rng: random.Random) -> str:
    """Words that have nothing to do with the request."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(passages.sentences())
    if kind < 0.6:
        return passages.by_rule(rng)
    if kind < 0.8:
        return " ".join(values.word(rng) for _ in range(rng.randint(1, 4))) + rng.choice((".", ":", ",", ""))
    return values.note(rng) + "."


def _filled(rng: random.Random, text: str) -> str:
    return text.replace("{noise}", noise(rng))


def _spoiled(rng: random.Random, text: str, *, strange: bool) -> str:
    """One to three words of the frame lost, mistyped, swapped or joined by others; by nouns too if `strange`."""
    words = text.split(" ")
    for _ in range(rng.choice((1, 1, 2, 3))):
        plain = [i for i, w in enumerate(words) if "{" not in w and w.isalpha()]
        if not plain:
            break
        at, kind = rng.choice(plain), rng.random()
        old = words[at]
        if kind < 0.2 and len(plain) > 3:
            words.pop(at)
        elif kind < 0.45:
            words[at] = _typo(rng, old)
        elif kind < 0.6:
            words[at] = values.word(rng) if strange else rng.choice(listed("everyday"))
        else:
            words.insert(at, _between(rng, strange=strange))
    return " ".join(words)


def _between(rng: random.Random, *, strange: bool) -> str:
    if not strange:
        return rng.choice(listed("fillers"))
    fillers = listed("fillers")
    return rng.choice((values.word(rng), rng.choice(listed("adjectives")), rng.choice(fillers), rng.choice(fillers)))


def _typo(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1 :]
    if kind < 0.7:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[at + 1 :]


def cased(rng: random.Random, frame: str, slots: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The frame with a capital in front, or lower, or shouting (then the values shout too)."""
    kind = rng.random()
    if kind < 0.03:
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
