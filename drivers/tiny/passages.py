"""Passages and topics: sentences of the Python that runs us, and sentences by rule, with a phrase to ask for."""

import ast
import functools
import importlib
import random
import re
import sysconfig
from pathlib import Path

import msgspec

from drivers.tiny import values
from drivers.tiny.words import listed

LENGTH_CHARS_MAX = 700
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")
_CLEAN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'()`_/=*<>+-]{18,170}\.")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_'-]*")
_JOINTS = (
    " and ",
    " and the ",
    " and a ",
    " ",
    " or ",
    " with ",
    " with the ",
    " to ",
    " in ",
    " on the ",
    " for the ",
    " of ",
)


class Topic(msgspec.Struct, frozen=True):
    """How a sentence is asked for: the words in the request, and where those words stand in the sentence."""

    words: str
    spots: tuple[tuple[int, int], ...]


class Passage(msgspec.Struct, frozen=True):
    """A text, the sentence of it that answers, and the phrase to ask for; the phrase stands in that sentence."""

    text: str
    sentence: str
    topic: Topic
    sentences: tuple[tuple[int, int], ...]
    at: int


@functools.cache
def sentences() -> tuple[str, ...]:
    """Every clean sentence of Python's topics and docstrings, in a fixed order, each once."""
    topics = importlib.import_module("pydoc_data.topics").topics
    texts = [topics[name] for name in sorted(topics)] + docstrings()
    found: dict[str, None] = {}
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in _SENTENCE.split(re.sub(r"\s+", " ", paragraph).strip()):
                if _CLEAN.fullmatch(sentence) and 5 <= len(sentence.split()) <= 28:
                    found[sentence] = None
    return tuple(found)


def docstrings() -> list[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = []
    for name in listed("modules"):
        path = root / name
        files += [path] if path.suffix == ".py" else sorted(path.rglob("*.py")) or [root / f"{name}.py"]
    return [text for path in files if path.is_file() and "test" not in path.parts for text in _docstrings_of(path)]


def _docstrings_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [text for node in ast.walk(tree) if isinstance(node, documented) and (text := ast.get_docstring(node))]


def by_rule(rng: random.Random) -> str:
    """A sentence from our word lists."""
    subject = rng.choice(("the ", "a ", "each ", "every ", "", "one ", "this ")) + values.phrase(rng)
    if rng.random() < 0.15:
        subject = rng.choice(listed("names")) + rng.choice(("", f" of {rng.choice(listed('names'))}"))
    verb = rng.choice(listed("verbs")).replace("_", " ")
    body = rng.choice(
        (
            f"{verb} {rng.choice(('the', 'a', 'its', 'no'))} {values.phrase(rng)}",
            f"{verb} the {values.phrase(rng)} {_place(rng)} the {values.phrase(rng)}",
            f"is {_adjective(rng)} and {_adjective(rng)}",
            f"is a {values.phrase(rng)} that {verb} {values.phrase(rng)}",
            f"can be {_adjective(rng)}",
            f"has {rng.randint(2, 90)} {values.word(rng)}s",
            f"was {_place(rng)} the {values.word(rng)} in {rng.randint(1400, 2030)}",
            f"{verb} {values.token(rng)}",
            f"is called {values.token(rng)}",
        )
    )
    tail = rng.choice(
        (
            "",
            f" {values.ending(rng)}",
            f" {_place(rng)} the {values.phrase(rng)}",
            f", and the {values.word(rng)} {verb} it",
        )
    )
    lead = rng.choice(
        (
            "",
            "",
            "",
            "",
            f"{_place(rng)} the {values.word(rng)} ",
            f"{values.ending(rng)}, ",
            "sometimes ",
            "in most cases ",
            "only ",
        )
    )
    text = f"{lead}{subject} {body}{tail}"
    return text[0].upper() + text[1:] + "."


def _place(rng: random.Random) -> str:
    return rng.choice(listed("places"))


def _adjective(rng: random.Random) -> str:
    return rng.choice(listed("adjectives"))


def passage(
    rng: random.Random,
    *,
    several: bool,
    longest_chars: int = LENGTH_CHARS_MAX,
    two: bool = False,
    alike_share: float = 0.0,
) -> Passage:
    """A passage (or two or three, a blank line between), one sentence chosen, a topic that points at it.

    With `two`, the topic is two phrases of the sentence, to be asked for together. `alike_share` of the passages have
    two sentences that differ in a word or two.
    """
    while True:
        body = _body(rng, rng.randint(60, longest_chars))
        if alike_share and rng.random() < alike_share:
            body.insert(rng.randrange(len(body) + 1), alike(rng, rng.choice(body)))
        chosen = rng.randrange(len(body))
        topic = topic_of(rng, body[chosen], body[:chosen] + body[chosen + 1 :], two=two)
        if topic is not None:
            break
    breaks = set[int]()
    if several and len(body) > 1:
        breaks = set(rng.sample(range(1, len(body)), k=min(len(body) - 1, rng.choice((1, 1, 2)))))
    text, places = "", list[tuple[int, int]]()
    for i, sentence in enumerate(body):
        text += "\n\n" if i in breaks else " " if i else ""
        places.append((len(text), len(text) + len(sentence)))
        text += sentence
    return Passage(text, body[chosen], topic, tuple(places), places[chosen][0])


def alike(rng: random.Random, sentence: str) -> str:
    """The sentence with another word or two in it: what begins alike and goes on otherwise."""
    words = sentence.split(" ")
    for _ in range(rng.choice((1, 1, 2))):
        words[rng.randrange(1, len(words))] = values.word(rng)
    return " ".join(words).removesuffix(".") + "."


def _body(rng: random.Random, chars: int) -> list[str]:
    real = sentences()
    kind, at = rng.random(), rng.randrange(len(real) - 12)
    body: list[str] = []
    while not body or (len(body) < 8 and sum(map(len, body)) < chars):
        if kind < 0.4:
            body.append(real[at + len(body)])
        elif kind < 0.75:
            body.append(by_rule(rng))
        else:
            body.append(by_rule(rng) if rng.random() < 0.5 else rng.choice(real))
    while len(body) > 1 and sum(map(len, body)) + 2 * len(body) > LENGTH_CHARS_MAX:
        body.pop()
    return body


def topic_of(rng: random.Random, sentence: str, others: list[str], *, two: bool) -> Topic | None:
    """A phrase of one to four words of the sentence, none but stop words of which stand in the others; or two."""
    rest = {w.lower() for other in others for w in _WORD.findall(other)}
    words = list(_WORD.finditer(sentence))
    spans = []
    for i in range(len(words)):
        for n in range(1, 5):
            span = words[i : i + n]
            if len(span) == n and _asks(sentence, span, rest):
                spans.append((span[0].start(), span[-1].end(), n))
    if not spans:
        return None
    begin, end, _ = rng.choices(spans, weights=[(5, 6, 3, 1)[n - 1] for *_, n in spans])[0]
    first = _with_article(rng, _lowered(rng, sentence, begin, end))
    after = [(b, e) for b, e, n in spans if b > end and n < 3]
    if not two or not after:
        return Topic(first, ((begin, end),))
    more = rng.choice(after)
    joint = rng.choice(_JOINTS)
    return Topic(f"{first}{joint}{sentence[slice(*more)]}", ((begin, end), more))


def _lowered(rng: random.Random, sentence: str, begin: int, end: int) -> str:
    topic = sentence[begin:end]
    lower = begin == 0 and not topic[1:2].isupper() and rng.random() < 0.8
    return topic[0].lower() + topic[1:] if lower else topic


@functools.cache
def _common() -> frozenset[str]:
    return frozenset(listed("stop") + listed("everyday"))


def _asks(sentence: str, span: list[re.Match[str]], rest: set[str]) -> bool:
    content = [w.group().lower() for w in span if w.group().lower() not in _common()]
    ends = {span[0].group().lower(), span[-1].group().lower()}
    joined = sentence[span[0].start() : span[-1].end()]
    if ends & _common() or re.search(r"[^A-Za-z0-9 _'-]", joined) or len(joined) < 3:
        return False
    fresh = [w for w in content if w not in rest]
    return len(fresh) == len(content) or (len(content) > 1 and len(fresh) * 2 >= len(content))


def speaks_of(text: str, words: str) -> bool:
    """Whether the text has all of the words that are not common ones."""
    wanted = {word.lower() for word in _WORD.findall(words)} - _common()
    return wanted <= {word.lower() for word in _WORD.findall(text)}


def _with_article(rng: random.Random, topic: str) -> str:
    return rng.choice(("", "", "", "the ", "the ", "a ")) + topic
