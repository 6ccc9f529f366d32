"""The refusal: no held-out request may be a training phrasing, no held-out passage may be in the corpus."""

import functools
import re
from collections.abc import Iterable, Iterator

from drivers.tiny import arithmetic, passages, patterns, score, templates

GRAM_WORDS = 8
_TOOLS = (
    templates.CALCULATE,
    templates.CALCULATE_VERBS,
    templates.LOOKUP,
    templates.RECALL_DOCS,
    templates.RECALL_MEMORY,
    templates.REMEMBER,
    templates.QUESTIONS,
)


class Overlap(Exception):
    """The held-out file and the training material share something: reword the one that came later."""


def refuse(cases: Iterable[score.Case] | None = None) -> None:
    """Raises `Overlap` with every shared phrasing and passage, or returns."""
    held = tuple(score.load() if cases is None else cases)
    shared = [f"{case.id}: the phrasing {masked(case)!r} is a training template" for case in held if is_trained(case)]
    shared += [f"{case.id}: the corpus has {gram!r} too" for case in held for gram in grams_shared(case)]
    if shared:
        raise Overlap("the held-out requests overlap the training material; change these:\n  " + "\n  ".join(shared))


def phrasings() -> frozenset[str]:
    """The held-out phrasings, masked: what the corpus must not come up with by chance either."""
    return frozenset(masked(case) for case in score.load())


def masked(case: score.Case) -> str:
    """The request, normal, its values masked."""
    text = case.request
    for value in sorted(case.values, key=len, reverse=True):
        text = re.sub(re.escape(value), " <x> ", text, flags=re.IGNORECASE)
    return patterns.normal(text)


def is_trained(case: score.Case) -> bool:
    """Whether some pattern, with any opening and closing of ours or none, is this phrasing."""
    text = masked(case).replace(" ", "")
    if case.call.name == "answer":
        return _layouts().fullmatch(text) is not None
    return _requests().fullmatch(text) is not None


@functools.cache
def _requests() -> re.Pattern[str]:
    return re.compile(_framed(pattern for group in _TOOLS for pattern in group))


@functools.cache
def _layouts() -> re.Pattern[str]:
    # The question is part of the layout's regex, not a slot of it: a word stands in for it meanwhile.
    question, standin = _framed(templates.QUESTIONS), "questionstandin"
    layouts = (patterns.regex(layout.replace("{q}", standin)) for layout in templates.LAYOUTS)
    return re.compile("|".join(f"(?:{layout})" for layout in layouts).replace(standin, question))


def _framed(cores: Iterable[str]) -> str:
    opening, closing = (
        _any(p for p in group if "{noise}" not in p) for group in (templates.OPENINGS, templates.CLOSINGS)
    )
    return f"(?:{opening})?(?:{_any(map(_with_sums, cores))})(?:{closing})?"


def _any(group: Iterable[str]) -> str:
    return "|".join(f"(?:{patterns.regex(pattern)})" for pattern in group)


def _with_sums(pattern: str) -> str:
    """The pattern with every wording of a sum in the place of its slot; operators between digits are no words."""
    for slot, table in (("{e}", arithmetic.BINARY), ("{v}", arithmetic.VERBS)):
        forms = "|".join(form for group in table.values() for form in group)
        pattern = pattern.replace(slot, f"({{x}}|{forms})")
    return pattern


def grams_shared(case: score.Case) -> list[str]:
    """Runs of eight words that a passage of the case shares with the sentences we train on."""
    text = " ".join((case.result, *case.values))
    return sorted(gram for gram in _grams(text) if gram in _corpus())


@functools.cache
def _corpus() -> frozenset[str]:
    return frozenset(gram for sentence in passages.sentences() for gram in _grams(sentence))


def _grams(text: str) -> Iterator[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return (" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))
