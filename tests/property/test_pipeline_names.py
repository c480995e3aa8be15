"""No name of a field can meet a name of the generated code: one field's value must never leave in another."""

from __future__ import annotations

import base64
import builtins
import keyword

import msgspec
import pytest

from clearwell.contract.load import parse
from clearwell.contract.model import Contract, Type
from clearwell.errors import Fatal
from clearwell.pipeline import RawBatch
from clearwell.pipeline.compiler import compile
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.steps.loop_writer import CONSTANT, OWN, TEMPLATE_GLOBALS, TEMPLATE_LOCALS, Code

CANARY = "123-45-6789"
CONSTANTS = {
    Type.BYTES: ("AAAA", "AAAA"),
    Type.DECIMAL: ('"1.50"', "1.50"),
    Type.TIMESTAMP: ('"2020-01-02T03:04:05Z"', "2020-01-02T03:04:05Z"),
    Type.DATE: ('"2020-01-02"', "2020-01-02"),
    Type.FLOAT64: ("1.5", 1.5),
    Type.STRING: ("plain", "plain"),
    Type.INT64: ("7", 7),
    Type.BOOL: ("true", True),
}
"""A constant of each type, as YAML and as JSON."""

HINTS = [
    "limit",
    "among",
    "allowed",
    "match",
    "known",
    "codes",
    "categories",
    "function",
    "bucket",
    "hash",
    "pseudonym",
    "decimal",
    "in_utc",
    "to_json",
    "inspect",
    "declared",
    "check_json",
    "missing",
    "one_spelling",
    "event_id_text",
    "format",
    "draw_nonces",
    "normalize",
    "substitute",
    "fits",
    "LARGEST",
    "exact",
    "text",
    "zone",
    "NOT_EXACT",
    "string_to_int32",
    "parse_at",
    "seen",
    "last",
    "identity",
    "now",
    "earlier",
    "k",
    "v",
    "process",
    "self",
]
NAMES = sorted(
    {name.lstrip("_") for name in TEMPLATE_LOCALS | TEMPLATE_GLOBALS}
    | set(HINTS)
    | {f"value_{hint}" for hint in HINTS[:4]}
    | {"k_value", "v_value_1", "last_1", "seen_1", "class_", "id_"}
)
PYTHON_NAMES = sorted(
    {name for name in dir(builtins) if not name.startswith("_")} | {*keyword.kwlist, *keyword.softkwlist} - {"_"}
)
BATCH = 45
"""Fields a contract: their names may not differ by case alone, so they are spread over several."""


def contract(names: list[str], type_: Type) -> Contract:
    """A contract whose fields have these names, each filled with a constant and looked at by other steps."""
    written = CONSTANTS[type_][0]
    extra = ", precision: 10, scale: 2" if type_ is Type.DECIMAL else ""
    fields = "\n".join(f'  "{name}": {{type: {type_}{extra}}}' for name in names)
    ordered = type_ not in (Type.BYTES, Type.STRING, Type.BOOL)
    steps = [f'  - fill: {{field: "{name}", constant: {written}}}' for name in names]
    steps += [f'  - drop_when: {{when: {{field: "{name}", ne: {written}}}}}' for name in names]
    if ordered:
        steps += [f'  - bounds: {{field: "{name}", min: {written}, max: {written}}}' for name in names]
    if type_ is Type.STRING:
        steps += [f'  - derive: {{field: "{name[:50]}_zz2", concat: ["{name}", "{name}"]}}' for name in names]
        steps += [f'  - label: {{field: "{name}", codes: {{plain: 1}}, into: "{name[:50]}_zz1"}}' for name in names]
    return parse(
        f"stream: s\nversion: 1\nowner: a@b.example\nkey: id\nevent_id: id\nevent_time: at\nsubject: id\nfields:\n"
        "  id: {type: string, required: true}\n  at: {type: timestamp, required: true}\n"
        f"  ssn: {{type: string, privacy: encrypt}}\n{fields}\nsteps:\n" + "\n".join(steps),
        "s/v1.yaml",
    )


def batches(names: list[str]) -> list[list[str]]:
    values = list({name.lower(): name for name in names if name.lower() not in ("id", "at", "ssn")}.values())
    return [values[at : at + BATCH] for at in range(0, len(values), BATCH)]


@pytest.mark.parametrize("type_", CONSTANTS)
def test_a_field_called_like_anything_in_the_generated_code_leaves_with_its_own_value_alone(type_: Type) -> None:
    for names in batches([*NAMES, *(PYTHON_NAMES if type_ is Type.DATE else ())]):
        pipeline = compile(contract(names, type_), MemoryKeyring())
        raw = msgspec.json.encode({"id": "1", "at": "2013-01-01T10:00:00Z", "ssn": CANARY})
        outcomes = pipeline.process(RawBatch("t" * 22, 0, [0, 1], [raw, raw]), pipeline.new_state())
        assert not outcomes.rejected and not outcomes.dropped
        for value in outcomes.values:
            event = msgspec.json.decode(value)
            wrong = {name: event[name] for name in names if event[name] != CONSTANTS[type_][1]}
            assert not wrong
            assert event["ssn"].startswith("cw1.")
            assert CANARY.encode() not in value
            assert base64.b64encode(CANARY.encode())[:8] not in value


def test_the_spaces_of_names_are_disjoint() -> None:
    assert not TEMPLATE_LOCALS & TEMPLATE_GLOBALS
    assert all(name.startswith("_") for name in TEMPLATE_LOCALS | TEMPLATE_GLOBALS)
    assert not [name for name in TEMPLATE_LOCALS | TEMPLATE_GLOBALS if name.startswith((CONSTANT, OWN))]
    code = Code()
    made = {code.reference("value", object()), code.reference("value", object()), code.fresh("value")}
    assert not made & (TEMPLATE_LOCALS | TEMPLATE_GLOBALS | {code.variable("value"), code.variable("k_value")})


def test_code_that_assigns_a_name_which_is_not_its_own_is_never_run() -> None:
    code = Code()
    name = code.reference("limit", object())
    source = f"def process(_offsets, _values):\n    {name} = 1\n    return [_len for _item in _values]\n"
    namespace: dict[str, object] = {}
    exec(source, namespace)
    with pytest.raises(Fatal, match=f"mixes up names .*{name}"):
        code.check_names(namespace["process"].__code__)  # type: ignore[attr-defined]


def test_a_clean_event_of_another_type_than_declared_ends_the_batch() -> None:
    pipeline = compile(contract(["n"], Type.INT64), MemoryKeyring())
    good = b'{"id":"1","at":"2013-01-01T10:00:00Z","ssn":null,"n":7}'
    pipeline._leaving.check([good])
    for bad in (b'"a"', b"null", b"7.5", b"9223372036854775808"):
        wrong = good.replace(b'"n":7', b'"n":' + bad)
        with pytest.raises(Fatal, match="not of the types"):
            pipeline._leaving.check([wrong])
