"""The `when` of routes and steps: a closed set of comparisons, read, checked and evaluated.

Written as `{field: x, eq: v}` (or ne, in, lt, lte, gt, gte, exists), `{all: [..]}`, `{any: [..]}`, `{not: {..}}`.

What a null does (generated code and closures both keep to this):
- Every comparison with a field that is null or missing is false. That includes `ne`: `{field: x, ne: 1}` is false
  where x is null.
- `exists: true` is true exactly where the field is there and not null; `exists: false` is the opposite.
- `all`, `any`, `not` are plain two-valued logic over these: `{not: {field: x, eq: 1}}` is true where x is null.
- `all` and `any` need at least one part and stop at the first that decides.
Constants have exactly the field's type (a whole number is allowed for a float64); strings are ordered by code point.
Protected fields can't be compared: their values are not there to compare, and a route would reveal them (invariant 9).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from clearwell.contract.model import CleanSchema, Condition, Field, Op, Type
from clearwell.contract.problems import Problems
from clearwell.contract.values import ORDERED, canonical, kind, python_value
from clearwell.errors import Location, nearest

COMPARISONS = (Op.EQ, Op.NE, Op.IN, Op.LT, Op.LTE, Op.GT, Op.GTE, Op.EXISTS)
GROUPS = (Op.ALL, Op.ANY, Op.NOT)
_ORDERING = frozenset({Op.LT, Op.LTE, Op.GT, Op.GTE})
_WORDS = [op.value for op in Op] + ["field"]
_SHAPE = "write {field: NAME, eq: VALUE}, {all: [...]}, {any: [...]} or {not: {...}}"

Row = tuple[Any, ...]
Test = Callable[[Row], bool]


def read_condition(
    value: Any, location: Location, lines: Mapping[str, Location], problems: Problems, path: str = "when"
) -> Condition | None:
    """The condition that the plain `value` (dicts, lists, scalars) spells out; None when problems were noted.

    `lines` maps dotted paths to places, as `StepCall.lines` does; `path` is where `value` stands in it.
    """
    location = lines.get(path, location)
    if not isinstance(value, dict):
        problems.add(f"A condition must be a map, not {kind(value)}: {_SHAPE}.", location)
        return None
    wrong = [name for name in value if name not in _WORDS]
    for name in wrong:
        problems.add(
            f'"{name}" is not a word of a condition.{nearest(name, _WORDS)}', lines.get(f"{path}.{name}", location)
        )
    if wrong:
        return None
    ops = [Op(name) for name in value if name != "field"]
    if len(ops) != 1:
        problems.add(f"A condition holds exactly one comparison (join several with `all`): {_SHAPE}.", location)
        return None
    op = ops[0]
    if op in GROUPS:
        return _read_group(op, value, location, lines, problems, path)
    return _read_comparison(op, value, location, problems)


def _read_group(
    op: Op, value: dict[str, Any], location: Location, lines: Mapping[str, Location], problems: Problems, path: str
) -> Condition | None:
    inside = value[op.value]
    below = f"{path}.{op.value}"
    if "field" in value:
        problems.add(f"`{op}` takes no `field`: its parts name their own.", lines.get(f"{path}.field", location))
        return None
    if op is Op.NOT:
        part = read_condition(inside, location, lines, problems, below)
        return Condition(op, parts=(part,), location=location) if part else None
    if not isinstance(inside, list) or not inside:
        problems.add(f"`{op}` takes a list of at least one condition.", lines.get(below, location))
        return None
    parts = [read_condition(part, location, lines, problems, f"{below}.{index}") for index, part in enumerate(inside)]
    known = tuple(part for part in parts if part is not None)
    return Condition(op, parts=known, location=location) if len(known) == len(parts) else None


def _read_comparison(op: Op, value: dict[str, Any], location: Location, problems: Problems) -> Condition | None:
    name, constant = value.get("field"), value[op.value]
    if not isinstance(name, str):
        problems.add(f"A comparison needs the name of a field: {_SHAPE}.", location)
        return None
    if op is Op.EXISTS and type(constant) is not bool:
        problems.add(f"`exists` must be true or false, not {kind(constant)}.", location)
        return None
    if op is Op.IN and (not isinstance(constant, list) or not constant):
        problems.add("`in` takes a list of at least one value.", location)
        return None
    if constant is None:
        problems.add(f"Nothing {'equals' if op is Op.EQ else 'compares with'} null: write `exists: false`.", location)
        return None
    return Condition(op, name, tuple(constant) if op is Op.IN else constant, location=location)


def check_condition(
    condition: Condition,
    fields: Mapping[str, Field],
    location: Location,
    problems: Problems,
) -> Condition | None:
    """The condition with its constants in canonical form, checked against `fields`; None when problems were noted.

    Inside the cleaner a protected field is still in the clear: steps hand in `fields` with the privacy taken off.
    """
    location = condition.location or location
    if condition.op in GROUPS:
        parts = [check_condition(part, fields, location, problems) for part in condition.parts]
        known = tuple(part for part in parts if part is not None)
        return Condition(condition.op, parts=known, location=location) if len(known) == len(parts) else None
    assert condition.field is not None
    field = fields.get(condition.field)
    if field is None:
        hint = nearest(condition.field, fields)
        problems.add(f'There is no field "{condition.field}" to compare here.{hint}', location)
        return None
    if field.privacy is not None:
        problems.add(f'"{field.name}" is protected ({field.privacy.kind}) and can\'t be compared.', location)
        return None
    return _check_constant(condition, field, location, problems)


def _check_constant(condition: Condition, field: Field, location: Location, problems: Problems) -> Condition | None:
    op, value = condition.op, condition.value
    if op is Op.EXISTS:
        return condition
    if op in _ORDERING and field.type not in ORDERED and field.type is not Type.STRING:
        problems.add(f'`{op}` needs an ordered type, and "{field.name}" is {field.type}: use eq, ne or in.', location)
        return None
    try:
        constants = tuple(canonical(field.type, constant) for constant in (value if op is Op.IN else (value,)))
    except ValueError as error:
        problems.add(f'What "{field.name}" is compared with {error}.', location)
        return None
    return Condition(op, field.name, constants if op is Op.IN else constants[0], location=location)


def compile_condition(condition: Condition, schema: CleanSchema) -> Test:
    """A function from a clean row (values in the order of `schema.fields`) to whether the condition holds.

    Rows hold Python values: Decimal, aware datetime, date and bytes for the types that JSON writes as strings.
    Raises ContractProblems when the condition does not fit the schema or compares a protected field.
    """
    problems = Problems()
    location = condition.location or Location(f"{schema.stream} v{schema.version}", 1)
    checked = check_condition(condition, {field.name: field for field in schema.fields}, location, problems)
    problems.raise_any()
    assert checked is not None
    return _closure(checked, schema, {field.name: index for index, field in enumerate(schema.fields)})


def _closure(condition: Condition, schema: CleanSchema, index_of: Mapping[str, int]) -> Test:
    if condition.op in GROUPS:
        return _group(condition.op, [_closure(part, schema, index_of) for part in condition.parts])
    assert condition.field is not None
    index, type_ = index_of[condition.field], schema.field(condition.field).type
    if condition.op is Op.EXISTS:
        return (lambda row: row[index] is not None) if condition.value else (lambda row: row[index] is None)
    if condition.op is Op.IN:
        among = frozenset(python_value(type_, written) for written in condition.value)
        return lambda row: row[index] in among  # null is never among them
    compare, constant = getattr(operator, _OPERATORS[condition.op]), python_value(type_, condition.value)
    return lambda row: (value := row[index]) is not None and compare(value, constant)


_OPERATORS = {Op.EQ: "eq", Op.NE: "ne", Op.LT: "lt", Op.LTE: "le", Op.GT: "gt", Op.GTE: "ge"}


def _group(op: Op, tests: list[Test]) -> Test:
    if op is Op.NOT:
        (only,) = tests
        return lambda row: not only(row)
    if op is Op.ALL:
        return lambda row: all(test(row) for test in tests)
    return lambda row: any(test(row) for test in tests)
