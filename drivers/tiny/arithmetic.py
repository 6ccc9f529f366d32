"""Arithmetic in words and symbols, with the expression that it stands for."""

# ruff: noqa: E501, RUF001  (a phrasing on one line can be read; people do write the printed signs)

import ast
import operator
import random
import re

import msgspec

from drivers.tiny import values
from drivers.tiny.patterns import draw

BINARY = {
    "+": (
        "{a} plus {b}",
        "{a} and {b} together",
        "the sum of {a} and {b}",
        "{a} added to {b}",
        "{a} increased by {b}",
        "the total of {a} and {b}",
    ),
    "-": (
        "{a} minus {b}",
        "the difference (between|of) {a} and {b}",
        "{a} less {b}",
        "{a} reduced by {b}",
        "{a} decreased by {b}",
        "{a} take away {b}",
    ),
    "*": ("{a} times {b}", "{a} multiplied by {b}", "the product of {a} and {b}", "{a} x {b}", "{a} lots of {b}"),
    "/": ("{a} divided by {b}", "{a} over {b}", "the quotient of {a} and {b}", "{a} split by {b}"),
}
VERBS = {
    "+": (
        "add {a} and {b}",
        "add {a} to {b}",
        "sum {a} and {b}",
        "sum up {a} and {b}",
        "add up {a} and {b}",
        "put {a} and {b} together",
        "add {a} with {b}",
    ),
    "-": (
        "subtract {b} from {a}",
        "take {b} from {a}",
        "take {b} away from {a}",
        "deduct {b} from {a}",
        "start with {a} and (subtract|remove|take away) {b}",
    ),
    "*": (
        "multiply {a} by {b}",
        "multiply {a} with {b}",
        "multiply {a} and {b}",
        "take {a} times {b}",
        "take {a} and multiply (it |) by {b}",
    ),
    "/": ("divide {a} by {b}", "split {a} by {b}", "take {a} and divide (it |) by {b}", "divide {a} into {b} parts"),
}
STORIES = {
    "+": (
        "(i|we|she|he) (had|have|has) {a} {noun}s and (got|bought|found|received) {b} more",
        "{a} {noun}s (and|plus|together with|on top of) {b} {noun}s",
        "there (are|were) {a} {noun}s (here|on the left|in one room) and {b} (there|on the right|in the other)",
        "{a} people (came|are here) and {b} (more|others) (came|arrive|follow)",
        "(one|the first) (costs|weighs|takes) {a} and the (other|second) {b}",
    ),
    "-": (
        "(i|we|she|he|they) (had|have) {a} {noun}s and (lost|sold|ate|gave away|used|spent|broke) {b}( of them|)",
        "(from|of|out of) {a} {noun}s {b} (are gone|were sold|are broken|are missing)",
        "(i|we) (have|had) {a} (coins|pounds|euros) and (pay|spend|paid|spent) {b}",
        "{a} people (came|were here) and {b} (left|went home)",
    ),
    "*": (
        "(there are|i have|we have|we bought|she packs|they ship) {a} (boxes|bags|rows|shelves|crates) (of|with) {b} {noun}s( each|)",
        "{a} {noun}s at {b} (coins|pounds|euros|dollars|cents) (each|apiece|per piece)",
        "{a} {noun}s (that cost|cost|weigh|hold) {b} each",
        "{a} (rows|groups|teams|packs) (of|with) {b} (people|{noun}s)",
    ),
    "/": (
        "{a} {noun}s (shared|divided|split|spread) (among|between|over) {b} (people|{noun}s|children)( equally|)",
        "(we|they) (share|split|divide) {a} {noun}s (among|between) {b} (people|friends|teams)",
        "{a} {noun}s are (packed|put|sorted) into {b} equal (groups|parts|boxes)",
    ),
}
CHAINS = (
    ("the sum of {a}, {b} and {c}", "{a} + {b} + {c}"),
    ("{a} and {b} and {c} together", "{a} + {b} + {c}"),
    ("the product of {a}, {b} and {c}", "{a} * {b} * {c}"),
    ("{a} times the sum of {b} and {c}", "{a} * ({b} + {c})"),
    ("the sum of {a} and {b}(,|) times {c}", "({a} + {b}) * {c}"),
    ("the sum of {a} and {b}(,|) divided by {c}", "({a} + {b}) / {c}"),
    ("the difference (of|between) {a} and {b}(,|) times {c}", "({a} - {b}) * {c}"),
    ("{a} plus the product of {b} and {c}", "{a} + {b} * {c}"),
)
WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_RUN = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(expression: str) -> str:
    """What the calculator answers: whole numbers without a point, others to six places; raises ValueError."""
    try:
        number = _walk(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ZeroDivisionError) as why:
        raise ValueError(f"cannot calculate {expression!r}: {why}") from why
    return str(int(number)) if number == int(number) else str(round(number, 6))


def _walk(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_walk(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _RUN:
            result: float = _RUN[type(op)](_walk(left), _walk(right))
            return result
    raise ValueError("only numbers, + - * / and brackets can be calculated")


class Sum(msgspec.Struct, frozen=True):
    """A sum as people write it and as the calculator wants it; `slot` is what it can stand in (noun, order, story).

    `order` says for each number of the expression which of the written ones it is.
    """

    written: str
    expression: str
    slot: str
    order: tuple[int, ...]


def drawn(rng: random.Random) -> Sum:
    """Some sum; its expression may divide by nought."""
    kind = rng.random()
    if kind < 0.5:
        written, expression = symbols(rng)
        return Sum(written, expression, "e", tuple(range(len(_numbers(expression)))))
    if kind < 0.6:
        return _worded(rng, "e", rng.choice(CHAINS))
    op = rng.choice("+-*/")
    slot, table = rng.choice((("e", BINARY), ("e", BINARY), ("v", VERBS), ("s", STORIES)))
    return _worded(rng, slot, (rng.choice(table[op]), f"{{a}} {op} {{b}}"))


def _worded(rng: random.Random, slot: str, form: tuple[str, str]) -> Sum:
    text, expression = form
    text = draw(text, rng).replace("{noun}", values.word(rng))
    names = re.findall(r"\{([abc])\}", text)
    numbers = {name: number(rng) for name in names}
    order = tuple(names.index(name) for name in re.findall(r"\{([abc])\}", expression))
    return Sum(text.format(**numbers), expression.format(**numbers), slot, order)


def aligned(sum_: Sum) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """For each number of the expression where it stands there, and where in what was written."""
    written = _numbers(sum_.written)
    return [(said, written[n]) for said, n in zip(_numbers(sum_.expression), sum_.order, strict=True)]


def _numbers(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\d+(\.\d+)?", text)]


def number(rng: random.Random) -> str:
    """A number as people write it: mostly up to four digits, seldom with a point."""
    if rng.random() < 0.08:
        return f"{rng.randint(0, 99)}.{rng.randint(1, 99)}"
    return str(rng.randint(1, 10 ** rng.choice((1, 2, 2, 2, 3, 3, 4))))


def symbols(rng: random.Random) -> tuple[str, str]:
    """(as written, expression): two to four numbers, sometimes brackets, tight or spaced or in words."""
    n = rng.choice((2, 2, 2, 3, 3, 4))
    parts = [number(rng)]
    for _ in range(n - 1):
        parts += [rng.choice("+-*/"), number(rng)]
    if n > 2 and rng.random() < 0.5:
        at = 2 * rng.randrange(n - 1)
        parts[at] = "(" + parts[at]
        parts[at + 2] += ")"
    expression = " ".join(parts)
    style = rng.random()
    if style < 0.25 and "(" not in expression:
        return " ".join(WORDS.get(p, p) for p in parts), expression
    if style < 0.4:
        return "".join(parts), expression
    if style < 0.5:
        signs = {"*": rng.choice(("x", "×", "·")), "/": rng.choice(("÷", ":", "/")), "-": rng.choice(("-", "−"))}
        return " ".join(signs.get(p, p) for p in parts), expression
    return expression, expression
