"""Pages: pieces of documents as programs show them, blocks with their markup, one sentence of it to quote."""

# ruff: noqa: RUF001  (documents have such characters)

import functools
import importlib
import random
import re
from collections.abc import Iterator

from drivers.tiny import passages, values
from drivers.tiny.passages import Passage
from drivers.tiny.words import listed

CHARS_MIN, CHARS_MAX = 250, 700
_PARAGRAPH = re.compile(r"\n\s*\n")
_ITEM = re.compile(r"\n(?=\s*(?:[*-]|\d+\.) )")
_VERBATIM = re.compile(r"^(\s*(```|>>>|\||\$|#|[*=-]{3}|\.\. )|.*::=)", re.MULTILINE)
_SEGMENT = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])|\n+\s*(?:[*-] |\d+\. )?|^\s*(?:[*-] |\d+\. )")
_QUOTABLE = re.compile(r"[A-Z][^\n]{18,560}[.!?]")
_TWICE_SHARE, _REAL_SHARE = 0.25, 0.5
_JOINTS = (": ", "; ", ", and ", ", so ", " — ", " – ", " → ", " (", ", while ", " / ")
_MARKUP = (
    *(("`", "`"), ("`", "`"), ("**", "**"), ("*", "*"), ('"', '"'), ("[", "](x.md)"), ("“", "”"), ("‘", "’")),
    *(("(", ")"), ("≤ ", ""), ("", " × 2"), ("", "…"), ("é", "ö"), ("", "’s"), ("<", ">"), ("§ ", ""), ("--", "")),
)


def page(rng: random.Random) -> Passage:
    """A page of CHARS_MIN to CHARS_MAX characters or so, and the sentence to quote; a quarter of the time others have
    words of the topic too, and the first is meant."""
    while True:
        text = _real(rng) if rng.random() < _REAL_SHARE else _made(rng)
        places = tuple(_segments(text))
        quotable = [at for at in places if _QUOTABLE.fullmatch(text[slice(*at)])]
        if not quotable:
            continue
        begin, end = rng.choice(quotable)
        earlier = [text[b:e] for b, e in places if e <= begin]
        later = [text[b:e] for b, e in places if b >= end]
        others = earlier if rng.random() < _TWICE_SHARE else earlier + later
        topic = passages.topic_of(rng, text[begin:end], others, two=rng.random() < 0.1)
        if topic is not None and len(text[begin:end].split()) >= 5:
            return Passage(text, text[begin:end], topic, places, begin)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Where its sentences, headings and items begin and end."""
    begin = 0
    for between in (*_SEGMENT.finditer(text), None):
        end = between.start() if between else len(text)
        if text[begin:end].strip():
            yield begin, end
        begin = between.end() if between else end


def reflowed(paragraph: str) -> str:
    """A paragraph, and each item of a list, on one line; code and tables as they are."""
    if _VERBATIM.search(paragraph):
        return paragraph
    return "\n".join(" ".join(item.split()) for item in _ITEM.split(paragraph))


@functools.cache
def texts() -> tuple[tuple[str, ...], ...]:
    """The paragraphs of each text of Python's that is long enough for a page."""
    topics = importlib.import_module("pydoc_data.topics").topics
    texts = [topics[name] for name in sorted(topics)] + passages.docstrings()
    cut = (tuple(reflowed(each).strip("\n") for each in _PARAGRAPH.split(text) if each.strip()) for text in texts)
    return tuple(each for each in cut if sum(map(len, each)) >= CHARS_MIN)


def _real(rng: random.Random) -> str:
    paragraphs = rng.choice(texts())
    at = rng.randrange(len(paragraphs))
    text = paragraphs[at]
    for paragraph in paragraphs[at + 1 :]:
        if len(text) + len(paragraph) > CHARS_MAX or len(text) >= CHARS_MIN:
            break
        text += "\n\n" + paragraph
    return text if len(text) <= CHARS_MAX else text[: text.rfind(" ", 0, CHARS_MAX)]


def _made(rng: random.Random) -> str:
    """Prose, lists, headings, code and tables by rule."""
    blocks = [_heading(rng)] if rng.random() < 0.4 else []
    while sum(map(len, blocks)) < rng.randint(CHARS_MIN, 550):
        make = rng.choices((_prose, _list, _heading, _code, _table), weights=(10, 5, 1, 1, 1))[0]
        blocks.append(make(rng))
    return "\n\n".join(blocks)[: CHARS_MAX + 100]


def _sentence(rng: random.Random) -> str:
    """One of Python's or by rule, some words of it marked up, or two in one."""
    text = rng.choice(passages.sentences()) if rng.random() < 0.4 else passages.by_rule(rng)
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 4))):
        more = passages.by_rule(rng)
        text = text[:-1] + rng.choice(_JOINTS) + more[0].lower() + more[1:]
        text = text[:-1] + ")." if text.count("(") > text.count(")") else text
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        words = text.split(" ")
        at = rng.randrange(1, len(words)) if len(words) > 2 else 0
        if words[at].isalpha():
            left, right = rng.choice(_MARKUP)
            words[at] = f"{left}{words[at]}{right}"
        text = " ".join(words)
    return text


def _sentences(rng: random.Random, most: int) -> list[str]:
    found = [_sentence(rng) for _ in range(rng.randint(1, most))]
    if rng.random() < 0.3:
        found.append(passages.alike(rng, rng.choice(found)))
    return found


def _prose(rng: random.Random) -> str:
    return " ".join(_sentences(rng, 4))


def _list(rng: random.Random) -> str:
    kind = rng.choice(("- ", "* ", "{n}. "))
    lead = f"{values.phrase(rng).capitalize()}:\n" if rng.random() < 0.3 else ""
    items = _sentences(rng, 4)
    if rng.random() < 0.3:
        items = [f"**{values.word(rng)}**{rng.choice((' — ', ': ', ' - '))}{each}" for each in items]
    return lead + "\n".join(kind.replace("{n}", str(n)) + each for n, each in enumerate(items, 1))


def _heading(rng: random.Random) -> str:
    title = values.phrase(rng).capitalize()
    return rng.choice((f"# {title}", f"## {title}", f"### {title}", f"{title}\n{'=' * len(title)}", f"**{title}**"))


def _code(rng: random.Random) -> str:
    lines = [f"{values.word(rng)}_{values.word(rng)} = {values.token(rng)}" for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.5:
        return "```\n" + "\n".join(lines) + "\n```"
    return "\n".join("    " + line for line in lines)


def _table(rng: random.Random) -> str:
    rows = [f"| {values.word(rng)} | {values.token(rng)} |" for _ in range(rng.randint(2, 3))]
    return "\n".join([f"| {rng.choice(listed('nouns'))} | {values.word(rng)} |", "|---|---|", *rows])
