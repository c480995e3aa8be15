"""A `when` of a step as one Python expression over the local variables of the loop.

The language and what a null does are told in `clearwell.contract.condition`; the closures there and this agree.
Inside the pipeline a protected field may be compared: its clear value is only in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearwell.contract.condition import GROUPS, check_condition, read_condition
from clearwell.contract.model import Condition, Field, Op, StepCall
from clearwell.contract.problems import Problems
from clearwell.contract.values import python_value
from clearwell.steps.loop_writer import Code

SIGNS = {Op.EQ: "==", Op.NE: "!=", Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">="}


def understand(when: Any, call: StepCall, fields: Mapping[str, Field]) -> Condition:
    """The checked condition that a step's `when` spells out. Raises ContractProblems with all that is wrong."""
    problems = Problems()
    condition = read_condition(when, call.location, call.lines, problems)
    if condition is not None:
        clear = {name: replace(field, privacy=None) for name, field in fields.items()}
        condition = check_condition(condition, clear, call.location, problems)
    problems.raise_any()
    assert condition is not None
    return condition


def expression(condition: Condition, fields: Mapping[str, Field], code: Code) -> str:
    """Python for a checked condition; its value is a bool."""
    if condition.op in GROUPS:
        parts = [expression(part, fields, code) for part in condition.parts]
        if condition.op is Op.NOT:
            return f"(not {parts[0]})"
        return f"({(' and ' if condition.op is Op.ALL else ' or ').join(parts)})"
    field = fields[str(condition.field)]
    variable = code.variable(field.name)
    if condition.op is Op.EXISTS:
        return f"({variable} is {'not ' if condition.value else ''}None)"
    if condition.op is Op.IN:
        among = frozenset(python_value(field.type, value) for value in condition.value)
        return f"({variable} in {code.reference(f'{field.name}_among', among)})"
    constant = code.constant(f"{field.name}_limit", python_value(field.type, condition.value))
    test = f"{variable} {SIGNS[condition.op]} {constant}"
    if field.required or condition.op is Op.EQ:
        return f"({test})"
    return f"({variable} is not None and {test})"
