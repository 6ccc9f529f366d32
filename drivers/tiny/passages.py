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

LENGTH_CHARS_MAX = 700
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")
_CLEAN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'()`_/=*<>+-]{18,170}\.")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_'-]*")
_STOP = frozenset(
    """a an the and or but if of in on at to by for from with as is are was were be been being it its this that these those
not no nor so such than then there their they them he she his her you your we our i who which what when where why how can could may
might must shall should will would do does did has have had any all each every some one two also only into out up down over under
more most less very just about after before between same other used use using return returns given see example e g etc""".split()
)
_MODULES = ("argparse", "asyncio", "bdb", "calendar", "cmd", "collections", "concurrent", "configparser", "contextlib", "csv", "ctypes",
            "curses", "dataclasses", "datetime", "decimal", "difflib", "dis", "doctest", "email", "encodings", "enum", "fractions", "ftplib",
            "functools", "gettext", "heapq", "html", "http", "imaplib", "importlib", "inspect", "ipaddress", "json", "logging", "mailbox",
            "multiprocessing", "optparse", "os.py", "pathlib.py", "pdb.py", "pickle.py", "pickletools.py", "platform.py", "poplib.py", "profile.py",
            "pydoc.py", "queue.py", "random.py", "re", "sched.py", "selectors.py", "shelve.py", "shlex.py", "shutil.py", "smtplib.py", "socket.py",
            "socketserver.py", "sqlite3", "ssl.py", "statistics.py", "string.py", "subprocess.py", "tarfile.py", "tempfile.py", "textwrap.py",
            "threading.py", "timeit.py", "tkinter", "tokenize.py", "trace.py", "traceback.py", "turtle.py", "typing.py", "unittest", "urllib", "uuid.py",
            "venv", "warnings.py", "weakref.py", "wsgiref", "xml", "xmlrpc", "zipfile.py", "zoneinfo")  # fmt: skip


class Passage(msgspec.Struct, frozen=True):
    """A text, the sentence of it that answers, and the phrase to ask for; the phrase stands in that sentence."""

    text: str
    sentence: str
    topic: str


@functools.cache
def sentences() -> tuple[str, ...]:
    """Every clean sentence of Python's topics and docstrings, in a fixed order, each once."""
    topics = importlib.import_module("pydoc_data.topics").topics
    texts = [topics[name] for name in sorted(topics)] + _docstrings()
    found: dict[str, None] = {}
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in _SENTENCE.split(re.sub(r"\s+", " ", paragraph).strip()):
                if _CLEAN.fullmatch(sentence) and 5 <= len(sentence.split()) <= 28:
                    found[sentence] = None
    return tuple(found)


def _docstrings() -> list[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = []
    for name in _MODULES:
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
        subject = rng.choice(values.NAMES) + rng.choice(("", f" of {rng.choice(values.NAMES)}"))
    verb = rng.choice(values.VERBS).replace("_", " ")
    body = rng.choice((
        f"{verb} {rng.choice(('the', 'a', 'its', 'no'))} {values.phrase(rng)}", f"{verb} the {values.phrase(rng)} {rng.choice(values.PLACES)} the {values.phrase(rng)}",
        f"is {rng.choice(values.ADJECTIVES)} and {rng.choice(values.ADJECTIVES)}", f"is a {values.phrase(rng)} that {verb} {values.phrase(rng)}", f"can be {rng.choice(values.ADJECTIVES)}",
        f"has {rng.randint(2, 90)} {values.word(rng)}s", f"was {rng.choice(values.PLACES)} the {values.word(rng)} in {rng.randint(1400, 2030)}", f"{verb} {values.token(rng)}", f"is called {values.token(rng)}",
    ))  # fmt: skip
    tail = rng.choice(
        (
            "",
            f" {values.ending(rng)}",
            f" {rng.choice(values.PLACES)} the {values.phrase(rng)}",
            f", and the {values.word(rng)} {verb} it",
        )
    )
    lead = rng.choice(
        (
            "",
            "",
            "",
            "",
            f"{rng.choice(values.PLACES)} the {values.word(rng)} ",
            f"{values.ending(rng)}, ",
            "sometimes ",
            "in most cases ",
            "only ",
        )
    )
    text = f"{lead}{subject} {body}{tail}"
    return text[0].upper() + text[1:] + "."


def passage(rng: random.Random, *, several: bool, longest_chars: int = LENGTH_CHARS_MAX) -> Passage:
    """A passage (or two or three, a blank line between) with one sentence chosen and a topic that points at it."""
    while True:
        body = _body(rng, rng.randint(60, longest_chars))
        chosen = rng.choice(body)
        topic = _topic(rng, chosen, [other for other in body if other is not chosen])
        if topic is not None:
            break
    if not several or len(body) < 2:
        return Passage(" ".join(body), chosen, topic)
    breaks = set(rng.sample(range(1, len(body)), k=min(len(body) - 1, rng.choice((1, 1, 2)))))
    text = "".join(("\n\n" if i in breaks else " " if i else "") + sentence for i, sentence in enumerate(body))
    return Passage(text, chosen, topic)


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


def _topic(rng: random.Random, sentence: str, others: list[str]) -> str | None:
    """A phrase of one to four words of the sentence, none but stop words of which stand in the others."""
    rest = {w.lower() for other in others for w in _WORD.findall(other)}
    words = list(_WORD.finditer(sentence))
    spans = []
    for i in range(len(words)):
        for n in range(1, 5):
            span = words[i : i + n]
            if len(span) < n or not _asks(sentence, span, rest):
                continue
            spans.append((span, n))
    if not spans:
        return None
    span, _ = rng.choices(spans, weights=[(5, 6, 3, 1)[n - 1] for _, n in spans])[0]
    topic = sentence[span[0].start() : span[-1].end()]
    if span[0].start() == 0 and not topic[1:2].isupper() and rng.random() < 0.8:
        topic = topic[0].lower() + topic[1:]
    return _with_article(rng, topic)


def _asks(sentence: str, span: list[re.Match[str]], rest: set[str]) -> bool:
    content = [w.group().lower() for w in span if w.group().lower() not in _STOP]
    ends = {span[0].group().lower(), span[-1].group().lower()}
    joined = sentence[span[0].start() : span[-1].end()]
    if ends & _STOP or re.search(r"[^A-Za-z0-9 _'-]", joined) or len(joined) < 3:
        return False
    fresh = [w for w in content if w not in rest]
    return len(fresh) == len(content) or (len(content) > 1 and len(fresh) * 2 >= len(content))


def _with_article(rng: random.Random, topic: str) -> str:
    return rng.choice(("", "", "", "the ", "the ", "a ")) + topic
