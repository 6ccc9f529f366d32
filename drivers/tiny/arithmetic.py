"""Arithmetic in words and symbols, with the expression that it stands for."""

import ast
import operator
import random

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
    if style < 0.45:
        return " ".join({"*": "x"}.get(p, p) for p in parts), expression
    return expression, expression
