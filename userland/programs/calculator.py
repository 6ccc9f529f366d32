"""A sandboxed tool: arithmetic, and nothing else that Python can do."""

import ast
import operator
from collections.abc import Callable

from syscalls.errors import Invalid
from userland.sdk.program import tool

EXPRESSION_CHARS_MAX = 500
DIGITS_MAX = 200
_PLACES = 6

Number = int | float
_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


@tool
def calculate(expression: str) -> str:
    """Works out an arithmetic expression: numbers, + - * / // % **, brackets."""
    try:
        return shown(evaluate(expression))
    except ZeroDivisionError:
        raise Invalid(f"{expression} divides by zero") from None
    except OverflowError:
        raise Invalid(f"{expression} is too large a number") from None


def evaluate(expression: str) -> Number:
    """The value. Raises Invalid (EINVAL) for what is no arithmetic, OverflowError beyond `DIGITS_MAX` digits."""
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise Invalid(f"an expression of {len(expression)} characters; at most {EXPRESSION_CHARS_MAX}")
    try:
        body = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Invalid(f"{expression!r} is no arithmetic: write numbers, + - * / ** and brackets") from None
    return _value(body)


def shown(number: Number) -> str:
    """Whole numbers without a point, others to six places."""
    return str(int(number)) if number == int(number) else str(round(number, _PLACES))


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _value(inner)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
    raise Invalid(f"{ast.unparse(node)} is no arithmetic: write numbers, + - * / ** and brackets")


def _power(base: Number, exponent: Number) -> Number:
    """Refuses what would be long in the making before making it."""
    if abs(base) > 1 and abs(exponent) * len(str(int(abs(base)))) > DIGITS_MAX:
        raise OverflowError
    result = base**exponent
    if isinstance(result, complex):
        raise Invalid(f"{base} ** {exponent} is no real number")
    return _bounded(result)


def _bounded(number: Number) -> Number:
    if isinstance(number, float):
        if number != number or number in (float("inf"), float("-inf")):
            raise OverflowError
    elif abs(number) >= 10**DIGITS_MAX:
        raise OverflowError
    return number
