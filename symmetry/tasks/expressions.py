"""Reads formulas into SymPy without evaluating them as Python, and works them out in NumPy."""

__all__ = ["FUNCTIONS", "Reader", "formula_of", "values"]

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import sympy

from symmetry.blocks import refusal
from symmetry.data import Array

LONGEST, DEEPEST = 1000, 50  # characters of a formula, terms within each other
NUMBERS = 1e100  # the largest number in a formula, and 1 over the smallest


FUNCTIONS: Mapping[str, tuple[Callable[..., sympy.Expr], int]] = {  # of how many terms
    "abs": (sympy.Abs, 1),
    "sqrt": (sympy.sqrt, 1),
    "exp": (sympy.exp, 1),
    "log": (sympy.log, 1),
    "sin": (sympy.sin, 1),
    "cos": (sympy.cos, 1),
    "tan": (sympy.tan, 1),
    "asin": (sympy.asin, 1),
    "acos": (sympy.acos, 1),
    "atan": (sympy.atan, 1),
    "atan2": (sympy.atan2, 2),
    "sinh": (sympy.sinh, 1),
    "cosh": (sympy.cosh, 1),
    "tanh": (sympy.tanh, 1),
    "min": (sympy.Min, 2),
    "max": (sympy.Max, 2),
}
OPERATORS: Mapping[type[ast.AST], Callable[..., sympy.Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
NUMERIC: Mapping[type[sympy.Expr], np.ufunc] = {
    sympy.Add: np.add,
    sympy.Mul: np.multiply,
    sympy.Pow: np.float_power,
    sympy.Abs: np.absolute,
    sympy.exp: np.exp,
    sympy.log: np.log,
    sympy.sin: np.sin,
    sympy.cos: np.cos,
    sympy.tan: np.tan,
    sympy.asin: np.arcsin,
    sympy.acos: np.arccos,
    sympy.atan: np.arctan,
    sympy.atan2: np.arctan2,
    sympy.sinh: np.sinh,
    sympy.cosh: np.cosh,
    sympy.tanh: np.tanh,
    sympy.Min: np.minimum,
    sympy.Max: np.maximum,
}
WORDS = f"numbers, pi, + - * / ** and the functions {', '.join(FUNCTIONS)}"


def formula_of(text: str, names: Sequence[str]) -> sympy.Expr:
    """Reads a formula into SymPy, term by term as it is written.

    Nothing of the text is evaluated as Python. Of its grammar numbers, the names given, pi,
    ``+ - * / **`` and :data:`FUNCTIONS` pass; terms of numbers alone are worked out in floating
    point, in which none takes long; and SymPy sees the rest, and leaves it as it is.

    Arguments:
        text: The formula.
        names: The names that may stand in it.

    Returns:
        The expression, in real symbols of these names.

    Raises:
        ValueError: If the formula is none or too long, or anything else stands in it.
    """
    return Reader(text, names).expression


class Reader:
    """Reads a formula, and beside it where that may fail.

    Arguments:
        text: The formula.
        names: The names that may stand in it.

    Attributes:
        expression: The formula, in real symbols of these names.
        terms: All its terms, the innermost first, each with its text.
        powers: What is raised to which power (log and tan fail as the power -1 does), likewise.

    Raises:
        ValueError: If the formula is none or too long, or anything else stands in it.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names = text.strip(), names
        self.terms: list[tuple[str, sympy.Expr]] = []
        self.powers: list[tuple[str, sympy.Expr, sympy.Expr]] = []
        if len(text) > LONGEST:
            raise refusal(f"at most {LONGEST} characters")
        try:
            tree = ast.parse(self.text, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            fault = getattr(error, "msg", None) or str(error)
            raise refusal(f"a formula as Python writes it ({fault})") from None
        with sympy.evaluate(False):  # it would cancel x / x, and work out powers without end
            self.expression = self._read(tree.body, 0)

    def _read(self, node: ast.expr, depth: int) -> sympy.Expr:
        if depth > DEEPEST:
            raise refusal(f"at most {DEEPEST} terms within each other")
        match node:
            case ast.Constant(value=float() | int() as value) if not isinstance(value, bool):
                return self._number(node, value)
            case ast.Name(id=name) if name in self.names:
                return sympy.Symbol(name, real=True)
            case ast.Name(id="pi"):
                return sympy.Float(np.pi)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._read(operand, depth + 1)
            case ast.UnaryOp(op=sign, operand=operand) if type(sign) in OPERATORS:
                return self._join(node, OPERATORS[type(sign)], [operand], depth)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
                return self._join(node, OPERATORS[type(sign)], [left, right], depth)
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
                function, count = FUNCTIONS[name]
                if len(parts) != count:
                    raise refusal(f"{name} of {count} terms, not {self._source(node)}")
                return self._join(node, function, parts, depth)
        raise refusal(f"{', '.join(self.names)}, {WORDS}; not {self._source(node)}")

    def _join(
        self,
        node: ast.expr,
        operation: Callable[..., sympy.Expr],
        parts: Sequence[ast.expr],
        depth: int,
    ) -> sympy.Expr:
        terms = [self._read(part, depth + 1) for part in parts]
        joined, source = operation(*terms), self._source(node)
        if not joined.free_symbols:
            return self._number(node, float(_value(joined, {})))
        self.terms.append((source, joined))
        if operation is operator.pow:
            self._raise(source, *terms)
        elif operation in (operator.truediv, sympy.log):
            self._raise(source, terms[-1], sympy.Float(-1))
        elif operation is sympy.tan:
            self._raise(source, sympy.cos(*terms), sympy.Float(-1))
        return joined

    def _raise(self, source: str, base: sympy.Expr, exponent: sympy.Expr) -> None:
        # A square vanishes where its base does, which alone changes its sign there.
        if base.func in (sympy.Mul, sympy.Abs, sympy.Pow):
            for factor in base.args[:1] if base.func is sympy.Pow else base.args:
                self._raise(source, factor, exponent)
        else:
            self.powers.append((source, base, exponent))

    def _number(self, node: ast.expr, value: float) -> sympy.Float:
        if not (value == 0 or 1 / NUMBERS <= abs(value) <= NUMBERS):
            source = self._source(node)
            raise refusal(f"0 and numbers from {1 / NUMBERS:g} to {NUMBERS:g}, not {source}")
        return sympy.Float(value)

    def _source(self, node: ast.expr) -> str:
        source = ast.get_source_segment(self.text, node) or self.text
        return source if len(source) <= 100 else f"{source[:97]}..."


def _value(expression: sympy.Expr, columns: Mapping[str, Array]) -> Array | float:
    if expression.is_Symbol:
        return columns[expression.name]
    if expression.is_Number:
        return float(expression)
    terms = [_value(term, columns) for term in expression.args]
    numeric = NUMERIC[expression.func]
    with np.errstate(all="ignore"):
        found: Array | float = numeric(*terms) if numeric.nin == 1 else reduce(numeric, terms)
    return found


def values(expressions: Sequence[sympy.Expr], names: Sequence[str], x: Array) -> Array:
    """Works out expressions of named columns, from shape (..., dim x) to (..., expressions)."""
    columns = {name: x[..., place] for place, name in enumerate(names)}
    found = [_value(expression, columns) for expression in expressions]
    return np.stack([np.broadcast_to(value, x.shape[:-1]) for value in found], -1)
