"""Arithmetic that never wraps, never rounds in silence and never lets NaN or infinity out."""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS
from clearwell.steps.loop_writer import Code

EXACT = Context(prec=200, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Wide enough that sums and products of a few 38-digit decimals are exact."""

LARGEST = 1.7976931348623157e308
"""The largest float64; NaN and infinities are outside of -LARGEST to LARGEST."""


def fits(value: Decimal, precision: int, scale: int) -> bool:
    """Whether a finite decimal has at most `scale` digits after the point and `precision` in all."""
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return False
    return -exponent <= scale and (not value or len(digits) + exponent <= precision - scale)


def emit_check(code: Code, variable: str, field: Field) -> None:
    """Reject the event when the number just computed does not fit the field's type."""
    if field.type in INT_BOUNDS:
        low, high = INT_BOUNDS[field.type]
        test = f"not {low} <= {variable} <= {high}"
    elif field.type is Type.FLOAT64:
        largest = code.reference("LARGEST", LARGEST)
        test = f"not -{largest} <= {variable} <= {largest}"
    else:
        test = f"not {code.reference('fits', fits)}({variable}, {field.precision}, {field.scale})"
    with code.block(f"if {test}:"):
        code.reject(f"{field.name} does not fit {field.type}", field.name)
