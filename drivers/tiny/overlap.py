"""The refusal: no held-out request may be a training phrasing, no held-out passage may be in the corpus.

Patterns that somebody wrote down must not even be able to make a held-out request: training refuses to start. The
grammar of `composed` is too wide for that (it makes millions of requests, and some of the held-out ones among them);
what it must not make is left out request by request, when it is drawn: `cores` are those requests, without whatever
opening and closing of ours they may have.
"""

import functools
import re
from collections.abc import Iterable, Iterator

from drivers.tiny import arithmetic, pages, passages, patterns, score, templates

GRAM_WORDS = 8
_TOOLS = (
    templates.CALCULATE,
    templates.CALCULATE_VERBS,
    templates.CALCULATE_STORIES,
    templates.LOOKUP,
    templates.RECALL_DOCS,
    templates.RECALL_MEMORY,
    templates.REMEMBER,
    templates.QUESTIONS,
    templates.QUESTIONS_OF_TWO,
)

_CHAINS = tuple(form for form, _ in arithmetic.CHAINS)


class Overlap(Exception):
    """The held-out file and the training material share something: reword the one that came later."""


def refuse(cases: Iterable[score.Case] | None = None) -> None:
    """Raises `Overlap` with every shared phrasing and passage, or returns."""
    held = tuple(score.load() if cases is None else cases)
    shared = [f"{case.id}: the phrasing {masked(case)!r} is a training template" for case in held if is_trained(case)]
    shared += [f"{case.id}: the corpus has {gram!r} too" for case in held for gram in grams_shared(case)]
    if shared:
        raise Overlap("the held-out requests overlap the training material; change these:\n  " + "\n  ".join(shared))


@functools.cache
def cores() -> frozenset[str]:
    """The held-out phrasings, squeezed, as they are and without openings and closings: the corpus draws none."""
    opening, closing = (re.compile(_any(group)) for group in (templates.OPENINGS, templates.CLOSINGS))
    found = set[str]()
    for case in score.load():
        text = patterns.squeezed(masked(case))
        begins = [i for i in range(len(text)) if i == 0 or opening.fullmatch(text[:i])]
        ends = [i for i in range(1, len(text) + 1) if i == len(text) or closing.fullmatch(text[i:])]
        found |= {text[begin:end] for begin in begins for end in ends if begin < end}
    return frozenset(found - {"<x>"})


def masked(case: score.Case) -> str:
    """The request, normal, its values masked."""
    text = case.request
    for value in sorted(case.values, key=len, reverse=True):
        text = re.sub(re.escape(value), " <x> ", text, flags=re.IGNORECASE)
    return patterns.normal(text)


def is_trained(case: score.Case) -> bool:
    """Whether some written pattern, with any opening and closing of ours or none, is this phrasing."""
    text = patterns.squeezed(masked(case))
    if case.call.name == "answer":
        return _layouts().fullmatch(text) is not None
    return _requests().fullmatch(text) is not None


@functools.cache
def _requests() -> re.Pattern[str]:
    return re.compile(_framed(templates.written(pattern for group in _TOOLS for pattern in group)))


@functools.cache
def _layouts() -> re.Pattern[str]:
    # The question is part of the layout's regex, not a slot of it: a word stands in for it meanwhile.
    question, standin = (
        _framed(templates.written((*templates.QUESTIONS, *templates.QUESTIONS_OF_TWO))),
        "questionstandin",
    )
    layouts = (patterns.regex(layout.replace("{q}", standin)) for layout in templates.written(templates.LAYOUTS))
    return re.compile("|".join(f"(?:{layout})" for layout in layouts).replace(standin, question))


def _framed(cores: Iterable[str]) -> str:
    opening, closing = (_any(group) for group in (templates.OPENINGS, templates.CLOSINGS))
    return f"(?:{opening})?(?:{_any(map(_with_sums, cores))})(?:{closing})?"


def _any(group: Iterable[str]) -> str:
    return "|".join(f"(?:{patterns.regex(pattern)})" for pattern in group)


def _with_sums(pattern: str) -> str:
    """The pattern with every wording of a sum in the place of its slot; operators between digits are no words."""
    for slot, table in (("{e}", arithmetic.BINARY), ("{v}", arithmetic.VERBS), ("{s}", arithmetic.STORIES)):
        forms = "|".join(form for group in (*table.values(), _CHAINS if slot == "{e}" else ()) for form in group)
        pattern = pattern.replace(slot, f"({{x}}|{forms})")
    return pattern


def grams_shared(case: score.Case) -> list[str]:
    """Runs of eight words that a passage of the case shares with the sentences and pages that we train on."""
    text = " ".join((case.result, *case.values))
    return sorted(gram for gram in _grams(text) if gram in _corpus())


@functools.cache
def _corpus() -> frozenset[str]:
    paragraphs = (paragraph for text in pages.texts() for paragraph in text)
    return frozenset(gram for text in (*passages.sentences(), *paragraphs) for gram in _grams(text))


def _grams(text: str) -> Iterator[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return (" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))
