"""A little grammar of phrasings: `(a|b|)` alternatives around slots such as `{x}`, drawn or turned into a regex."""

import random
import re

SLOT = re.compile(r"\{\w+\}")
ANY_NOUN = "[a-z]{2,20}"
_PIECE = re.compile(r"[(|)]|\{\w+\}|[^(|){}]+")
_NOT_WORD = re.compile(r"[^a-z0-9<>]+")


def draw(pattern: str, rng: random.Random) -> str:
    """One phrasing of the pattern, each alternative equally likely; slots stay as they are."""
    text, rest = _draw(_PIECE.findall(pattern), 0, rng)
    if rest != len(_PIECE.findall(pattern)):
        raise ValueError(f"unbalanced brackets in the pattern {pattern!r}: close each ( with a )")
    return re.sub(r" {2,}", " ", text).strip()


def _draw(pieces: list[str], at: int, rng: random.Random) -> tuple[str, int]:
    choices, parts = [], list[str]()
    while at < len(pieces):
        piece = pieces[at]
        if piece == ")":
            break
        if piece == "|":
            choices.append("".join(parts))
            parts = []
        elif piece == "(":
            inner, at = _draw(pieces, at + 1, rng)
            parts.append(inner)
        else:
            parts.append(piece)
        at += 1
    choices.append("".join(parts))
    return rng.choice(choices), at


def normal(text: str) -> str:
    """Lower case, words only, one space between; slots and masks become `<x>`, runs of them one."""
    text = SLOT.sub(" <x> ", text).lower()
    text = re.sub(r"\d[\d.,]*", " <x> ", text)
    return re.sub(r"(<x>\s*)+", "<x> ", _NOT_WORD.sub(" ", text)).strip()


def squeezed(text: str) -> str:
    """The text `normal` and without its spaces, as `regex` has it."""
    return normal(text).replace(" ", "")


def regex(pattern: str) -> str:
    """The pattern as a regex over `normal` text with the spaces taken out."""
    out = []
    for piece in _PIECE.findall(pattern):
        if piece in "()|":
            out.append({"(": "(?:", ")": ")", "|": "|"}[piece])
        elif piece == "{noun}":
            out.append(ANY_NOUN)
        elif SLOT.fullmatch(piece):
            out.append("(?:<x>)+")
        else:
            out.append(re.escape(normal(piece).replace(" ", "")))
    return "".join(out)
