"""The questions of a run: chosen by the seed, each with the words that a right answer contains.

What is right is worked out here, from the documents, by arithmetic, or from the glossary's file; no model is asked.
A question about a document is made of one of its sentences: of a phrase in it that begins with an article and stands in
no other sentence of the folder, so that the question has one answer and no other.
"""

import operator
import random
import re
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import final

from msgspec import Struct

from userland.documents import Document, read_folder

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])|\n+(?:[*-] |\d+\. )?")
_CLEAN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'()`_/=*<>+-]{25,170}\.")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_'-]*")
_PHRASE = re.compile(
    r"\b(?:the|a|an|each|every|any|no|its|one|The|A|An|Each|Every|Any|No) ((?:[a-z][a-z_-]+ ){0,2}[a-z][a-z_-]{2,})"
    r"(?= (?:is|are|was|were|has|have|does|can|cannot|may|must|will|should|holds|runs|ends|goes|gives|keeps|stands|"
    r"of|in|on|at|to|by|for|from|with|as|and|or|that|which|who|when|where|while|than|into|over|before|after|between|"
    r"through|against|within|without|under|per|not|itself|so|but)\b|[,.;:)])"
)
_NO_THING = frozenset(
    [
        *(
            "is",
            "are",
            "was",
            "were",
            "does",
            "did",
            "has",
            "have",
            "gets",
            "makes",
            "takes",
            "holds",
            "depends",
            "refers",
        ),
        *("of", "in", "on", "at", "to", "by", "for", "from", "with", "as", "and", "or", "if", "not", "until", "along"),
        *(
            "that",
            "which",
            "it",
            "its",
            "this",
            "these",
            "can",
            "may",
            "must",
            "being",
            "used",
            "called",
            "using",
            "ago",
        ),
        *("following", "same", "first", "second", "last", "next", "given", "new", "other", "such", "only", "whole"),
        *("above", "below", "usual", "normal", "more", "most", "one", "two", "own", "few", "again", "indirectly"),
        *(
            "another",
            "after",
            "before",
            "every",
            "each",
            "all",
            "both",
            "some",
            "any",
            "whose",
            "what",
            "there",
            "when",
        ),
        *("goes", "says", "ships", "starts", "includes", "allows", "belongs", "changes", "terminates", "containing"),
        *("interrupted", "support", "lacks", "language", "negative", "five", "times", "right"),
        *("case", "way", "time", "number", "kind", "undefined", "moment", "time", "nothing", "anything", "rest", "end"),
    ]
)
"""Words without which a phrase is more surely a thing that one can ask for."""
_LONE_CHARS_MIN = 8
_ABOUT = (
    "What do the documents say about {t}?",
    "What does the documentation say about {t}?",
    "Search the documents for {t}.",
    "Quote the documents on {t}.",
    "Do the docs say anything about {t}?",
    "Tell me what the documents say about {t}.",
    "According to the documents, what is {t}?",
)
_LOOKUP = ("What does {t} mean?", "Look up {t} in the glossary.", "Define the term {t}.", "What is {t}?")
_SUM = ("What is {e}?", "Calculate {e}.", "How much is {e}?", "Work out {e}.", "Tell me {e}.")
_REMEMBER = ("Remember that {f}.", "Please note that {f}.", "Do not forget that {f}.", "Keep in mind that {f}.")
_RECALL = ("What did I tell you about {t}?", "What do you remember about {t}?", "Remind me of {t}.")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_THINGS = ("the spare key", "the blue door", "the night train", "the old printer", "the red lamp", "the north gate")
_FACTS = ("is in room {n}", "has the number {n}", "costs {n}", "needs {n} screws", "belongs to Ada", "is not for sale")


@final
class Question(Struct, frozen=True):
    """A request, and what a right answer to it contains; `source` is where in the documents that stands."""

    text: str
    expected: str
    source: str = ""

    def answered_by(self, answer: str) -> bool:
        """Whether the answer contains the expected words, in whichever lines; numbers whole."""
        said, expected = _plain(answer), _plain(self.expected)
        return bool(re.search(rf"(?<![\w.-]){re.escape(expected)}(?!\w|\.\d)", said))


def about(rng: random.Random, folder: Path, count: int) -> list[Question]:
    """So many questions about the documents in `folder`, of as many different files as there are.

    Raises ValueError when the documents have not so many sentences that can be asked for."""
    found = _askable([each for each in read_folder(folder) if isinstance(each, Document)])
    by_file: dict[str, list[Question]] = {}
    for question in rng.sample(found, len(found)):
        by_file.setdefault(question.source.partition("#")[0], []).append(question)
    turns = [question for row in _rows(list(by_file.values())) for question in row][:count]
    if len(turns) < count:
        raise ValueError(f"{folder} has {len(turns)} sentences that can be asked for, {count} are wanted")
    return [Question(rng.choice(_ABOUT).format(t=each.text), each.expected, each.source) for each in turns]


def sums(rng: random.Random, count: int) -> list[Question]:
    """Arithmetic, with the results."""
    chosen = []
    for _ in range(count):
        sign = rng.choice(list(_OPERATORS))
        a, b = rng.randint(12, 999), rng.randint(3, 99)
        request = rng.choice(_SUM).format(e=f"{a} {sign} {b}")
        chosen.append(Question(request, str(_OPERATORS[sign](a, b))))
    return chosen


def lookups(rng: random.Random, count: int) -> list[Question]:
    """Words of the glossary that ships, with its lines."""
    lines = resources.files("userland.programs").joinpath("glossary.txt").read_text(encoding="utf-8").splitlines()
    entries = {line.partition(":")[0].partition(",")[0]: line for line in lines if ": " in line}
    return [Question(rng.choice(_LOOKUP).format(t=term), entries[term]) for term in rng.sample(sorted(entries), count)]


def memories(rng: random.Random) -> list[Question]:
    """Something to remember, and the question that needs it."""
    thing, fact = rng.choice(_THINGS), rng.choice(_FACTS).format(n=rng.randint(10, 99))
    told = f"{thing} {fact}"
    return [
        Question(rng.choice(_REMEMBER).format(f=told), told),
        Question(rng.choice(_RECALL).format(t=thing), told),
    ]


def _askable(documents: list[Document]) -> list[Question]:
    """A question for every sentence that has a phrase of its own; `text` is the phrase."""
    passages = [passage for document in documents for passage in document.passages]
    sentences = [(passage.source, _plain(each)) for passage in passages for each in _sentences(passage.text)]
    words = Counter(word for _, sentence in sentences for word in set(_words(sentence)))
    everything = "\n".join(" ".join(_words(sentence)) for _, sentence in sentences)
    found = []
    for source, sentence in sentences:
        if _CLEAN.fullmatch(sentence) and 6 <= len(sentence.split()) <= 28:
            phrases = [each for each in _PHRASE.findall(sentence) if _points(each, words, everything)]
            if phrases:
                phrase = max(phrases, key=lambda each: len(each.split()))
                found.append(Question(f"the {phrase}", sentence, source))
    return found


def _points(phrase: str, words: Counter[str], everything: str) -> bool:
    """Whether the phrase is a thing that one sentence names, and a rare word in it leads there."""
    parts = phrase.split()
    if _NO_THING & set(parts) or (len(parts) == 1 and len(phrase) < _LONE_CHARS_MIN):
        return False
    rarest = min(words[part] for part in parts)
    return rarest == 1 or (rarest == 2 and len(parts) > 1 and everything.count(phrase) == 1)


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _rows(columns: list[list[Question]]) -> Iterator[list[Question]]:
    """The first of each column, the second of each, …"""
    for at in range(max(map(len, columns), default=0)):
        yield [column[at] for column in columns if at < len(column)]


def _plain(text: str) -> str:
    return " ".join(text.split())
