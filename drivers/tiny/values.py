"""What fills the slots: words, made-up words, identifiers, terms, definitions, facts."""

import random

from drivers.tiny.words import listed

ENDS = (
    "every day",
    "at night",
    "in winter",
    "once a year",
    "for {n} days",
    "in {n} minutes",
    "after {n} tries",
    "since {y}",
    "by hand",
    "only once",
    "at any time",
    "in the morning",
    "until {y}",
    "at the same time",
    "more than {n} times",
    "if nobody is there",
    "so that it lasts longer",
    "because it is cheap",
    "but never on Sunday",
    "when the {noun} is {adj}",
    "unless it is {adj}",
    "while the {noun} waits",
    "and then it stops",
    "as long as the {noun} is {adj}",
    "which costs {n} coins",
    "with great care",
)


def made_up(rng: random.Random) -> str:
    """A word nobody has seen."""
    return "".join(rng.choices(listed("syllables"), k=rng.choice((2, 2, 3, 3, 4))))


def word(rng: random.Random) -> str:
    """A noun, made up one time in four."""
    return made_up(rng) if rng.random() < 0.25 else rng.choice(listed("nouns"))


def identifier(rng: random.Random) -> str:
    """A name from some program or log."""
    a, b = word(rng), word(rng)
    return rng.choice(
        (
            rng.choice(listed("errors")),
            f"{a}_{b}",
            f"{a}_{b}".upper(),
            f"{a}-{rng.randint(1, 99)}",
            a.capitalize() + b.capitalize(),
            f"{a}.{b}",
            f"{a}{rng.randint(0, 99)}",
            f"--{a}-{b}",
            f"{a}()",
            f"{a}_{b}_{word(rng)}",
            "E" + made_up(rng).upper(),
            "SIG" + rng.choice(listed("syllables")).upper(),
            "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(2, 5))),
            f"/{a}/{b}",
            f"{rng.choice(listed('syllables'))}{rng.randint(1, 9)}{rng.choice(listed('syllables'))}",
        )
    )


def phrase(rng: random.Random) -> str:
    """A noun phrase without an article."""
    kind = rng.random()
    if kind < 0.3:
        return word(rng)
    if kind < 0.5:
        return f"{rng.choice(listed('adjectives'))} {word(rng)}"
    if kind < 0.75:
        return f"{word(rng)} {word(rng)}"
    if kind < 0.85:
        return f"{word(rng)} of {rng.choice(('the ', '', 'a '))}{word(rng)}"
    return f"{rng.choice(listed('adjectives'))} {word(rng)} {word(rng)}"


def term(rng: random.Random) -> str:
    """What one looks up: a word, an identifier, two or three words."""
    kind = rng.random()
    if kind < 0.35:
        return identifier(rng)
    return word(rng) if kind < 0.7 else phrase(rng)


def token(rng: random.Random) -> str:
    """A number, date, code, name: what facts end with."""
    return rng.choice(
        (
            str(rng.randint(0, 99999)),
            rng.choice(listed("names")),
            f"{rng.choice(listed('names'))} {rng.choice(listed('names'))}",
            identifier(rng),
            f"{rng.randint(1, 23)}:{rng.randint(10, 59)}",
            f"{rng.randint(1, 9)},{rng.randint(100, 999)}",
            f"{rng.randint(1, 31)} {rng.choice(listed('names'))}",
            phrase(rng),
            rng.choice(listed("adjectives")),
            f"{rng.getrandbits(24):x}",
            f"{rng.choice('ABCDEFGHKLMNPQRSTVWXYZ')}{rng.randint(1, 99)}",
            f"{rng.randint(1, 900)} {word(rng)}s",
            f"{rng.randint(0, 9)}.{rng.randint(0, 99)}",
            f"the {phrase(rng)}",
        )
    )


def topic_of_fact(rng: random.Random) -> str:
    """What a remembered fact is about."""
    return rng.choice(
        (
            f"the {phrase(rng)}",
            f"my {phrase(rng)}",
            f"our {phrase(rng)}",
            f"the {phrase(rng)}",
            rng.choice(listed("names")),
            identifier(rng),
            f"{rng.choice(listed('names'))}'s {word(rng)}",
            f"the {word(rng)} of {rng.choice(listed('names'))}",
        )
    )


def fact(rng: random.Random, topic: str | None = None) -> str:
    """A statement to keep, without its full stop."""
    about = topic or topic_of_fact(rng)
    verb = _verb(rng)
    tail = rng.choice(
        (
            f"is {token(rng)}",
            f"is {token(rng)}",
            f"is called {token(rng)}",
            f"was {token(rng)}",
            f"{verb} {token(rng)}",
            f"{verb} the {phrase(rng)}",
            f"is {rng.choice(listed('places'))} the {phrase(rng)}",
            f"must be {rng.choice(listed('adjectives'))}",
            f"costs {rng.randint(1, 999)}",
            f"starts at {rng.randint(1, 23)}:{rng.randint(10, 59)}",
            f"lives in {token(rng)}",
            f"needs {token(rng)}",
            f"has {token(rng)}",
            f"likes {phrase(rng)}",
            f"moved to {token(rng)}",
            f"runs on {token(rng)}",
            f"belongs to {rng.choice(listed('names'))}",
            f"is not {rng.choice(listed('adjectives'))}",
            f"is {rng.choice(listed('adjectives'))} {ending(rng)}",
        )
    )
    return f"{about} {tail}"


def _verb(rng: random.Random) -> str:
    return rng.choice(listed("verbs")).replace("_", " ")


def ending(rng: random.Random) -> str:
    """When, how long, why."""
    return rng.choice(ENDS).format(
        n=rng.randint(2, 90), y=rng.randint(1500, 2030), noun=word(rng), adj=rng.choice(listed("adjectives"))
    )


def note(rng: random.Random) -> str:
    """What somebody asks to remember: mostly a fact, sometimes loose words or an order."""
    kind = rng.random()
    if kind < 0.7:
        return fact(rng)
    if kind < 0.8:
        return f"{rng.choice(listed('orders'))} {token(rng)} {ending(rng)}"
    if kind < 0.9:
        return " ".join(token(rng) for _ in range(rng.randint(2, 4)))
    who, does, where = (rng.choice(listed(name)) for name in ("crowds", "doings", "places"))
    return f"{who} {does} {where} {token(rng)} {ending(rng)}"


def definition(rng: random.Random, what: str) -> str:
    """A glossary line."""
    body = rng.choice(
        (
            f"{rng.choice(('a', 'the', 'an old', 'any', 'one'))} {phrase(rng)} that {_verb(rng)} "
            f"{rng.choice(('the', 'a'))} {phrase(rng)}",
            f"{word(rng)} for {word(rng)}s",
            f"{rng.choice(listed('adjectives'))} {word(rng)} {rng.choice(listed('places'))} the {phrase(rng)}",
            f"the {word(rng)} is {rng.choice(listed('adjectives'))}",
            f"no {word(rng)} {rng.choice(listed('places'))} {word(rng)}",
            f"how many {word(rng)}s a {word(rng)} {_verb(rng)}",
            f"{_verb(rng)} {token(rng)} {ending(rng)}",
            f"{phrase(rng)}, {phrase(rng)} and {phrase(rng)}",
        )
    )
    return rng.choice(
        (
            f"{what}: {body}",
            f"{what}: {body}",
            body,
            f"{what} is {body}",
            f"{what} - {body}",
            f"{what}: {body}; see {term(rng)}",
        )
    )
