"""What a step may not be: each mistake is named with its line and the nearest right spelling, all of them at once."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from clearwell.contract.language import json_schema
from clearwell.contract.load import parse
from clearwell.errors import ContractError
from clearwell.plugins.reference import steps_markdown
from clearwell.steps import bind
from clearwell.steps.schema import json_schemas
from clearwell.steps.table import STEPS

ROOT = Path(__file__).parents[3]

FIELDS = """\
s: {type: string}
n: {type: int32}
x: {type: float64}
d: {type: decimal}
j: {type: json}
day: {type: date}
who: {type: string, privacy: encrypt}
age: {type: int32, privacy: {generalise: 10}}
"""


def problem(things, *steps: str, more: str = "") -> str:
    with pytest.raises(ContractError) as caught:
        things(FIELDS, steps, more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("trimm: {fields: [s]}", 'There is no step "trimm". Did you mean "trim"?'),
        ("trim: {field: s}", 'There is no argument "field". Did you mean "fields"?'),
        ("trim: {}", 'The argument "fields" is missing.'),
        ("trim: [s]", "The arguments must be a map"),
        ("trim: {fields: s}", "Expected a list, got text for fields."),
        ("trim: {fields: [ss]}", 'There is no field "ss" at this step.'),
        ("trim: {fields: [n]}", '"n" is int32; trim works on string.'),
        ("normalize: {fields: [s], form: NFX}", "for form"),
        ('replace: {fields: [s], pattern: "(", with: x}', "`pattern` is not a regular expression"),
        ('replace: {fields: [s], pattern: "(?=a)", with: x}', "`pattern` holds look-around"),
        ("require: {fields: []}", "length >= 1"),
        ("drop_when: {when: {field: s, eq: 1}}", 'What "s" is compared with must be text'),
        ("drop_when: {when: {field: s, equals: x}}", '"equals" is not a word of a condition'),
        ("drop_when: {when: {field: zz, eq: x}}", 'There is no field "zz" to compare here'),
        ("fill: {field: n}", "fill takes exactly one of"),
        ("fill: {field: n, mean: 1, mode: 1}", "fill takes exactly one of"),
        ("fill: {field: n, mean: 1.5}", 'The value for "n" must be a whole number'),
        ("fill: {field: n, constant: 3000000000}", 'The value for "n" does not fit int32'),
        ("fill: {field: s, mean: x}", '"s" is string, which has no mean'),
        ("fill: {field: j, constant: 1}", '"j" is json'),
        ("fill: {field: s, previous: 0, by: [n]}", "for previous"),
        ("parse_time: {field: s, format: '%d %d', zone: UTC}", "Each directive may stand once"),
        ("parse_time: {field: s, format: '%Y%', zone: UTC}", "is written %%"),
        ("fill: {field: n, previous: 5}", "`previous` needs `by`"),
        ("fill: {field: n, previous: 5, by: [n]}", "can't say whose value it is itself"),
        ("fill: {field: n, previous: 5, by: [x]}", "which does not tell events apart"),
        ("fill: {field: n, previous: 5, by: [nothing]}", 'There is no field "nothing"'),
        ("fill: {field: n, constant: 5, by: [s]}", "`by` goes with `previous` alone"),
        ("fill: {field: s, previous: 5, by: [n]}", "has no bound, and a value of each entity is remembered"),
        ("fill: {field: who, previous: 5, by: [n]}", "a value of one event must not enter another"),
        ("bounds: {field: n}", "bounds needs `min` or `max`"),
        ("bounds: {field: n, min: 2, max: 1}", "No value lies in this range"),
        ("bounds: {field: s, min: 2}", '"s" is string; bounds works on'),
        ("bounds: {field: n, min: 2, into: f}", "`into` goes with `action: flag` alone"),
        ("bounds: {field: age, min: 2, action: flag}", "a flag would tell of it"),
        ("zscore_outlier: {field: n, mean: 1, std: 0}", "std"),
        ("iqr_outlier: {field: n, q1: 2, q3: 1}", "q3 must not be below q1"),
        ("deduplicate: {by: j, window: 5}", "does not tell events apart"),
        ("deduplicate: {by: id, window: 0}", "for window"),
        ("cast: {field: j, to: string}", '"j" is json, which can be cast to nothing'),
        ("cast: {field: s, to: bytes}", '"s" is string, which can be cast to bool, date'),
        ("parse_time: {field: s, format: '%d %q', zone: UTC}", "%q is not among"),
        ("parse_time: {field: s, format: '%d'}", "holds no offset, so give `zone`"),
        ("parse_time: {field: s, format: '%d %z', zone: UTC}", "leave `zone` out"),
        ("parse_time: {field: s, format: '%d', zone: Mars/Base}", 'There is no time zone "Mars/Base"'),
        ("parse_time: {field: s, format: '%d', zone: ../../etc/passwd}", "There is no time zone"),
        ("parse_time: {field: s, format: unix_seconds}", '"s" is string; parse_time works on'),
        ("parse_time: {field: s, format: iso8061, zone: UTC}", 'Did you mean "iso8601"'),
        ("parse_time: {field: n, format: iso8601}", "parse_time works on string"),
        ("label: {field: s, codes: {a: 3000000000}}", "for codes"),
        ("label: {field: s, codes: {a: 1}, unknown: maybe}", "for unknown"),
        ("label: {field: s, codes: {a: 1}, privacy: hash}", "`privacy` goes with `into`"),
        ("one_hot: {field: s, categories: [a, A]}", 'There is a field "s_a" already'),
        ("min_max: {field: n, min: 1, max: 1}", "max must be above min"),
        ("zscore: {field: d, mean: 1, std: 1}", '"d" is decimal; zscore works on'),
        ("derive: {field: z}", "derive takes exactly one of"),
        ("derive: {field: z, sum: [n, x], product: [n]}", "derive takes exactly one of"),
        ("derive: {field: z, sum: [n, s]}", '"s" is string, which is not a number'),
        ("derive: {field: z, sum: [d, x]}", "A decimal and a float64 don't mix"),
        ("derive: {field: z, difference: [n]}", "difference takes two fields"),
        ("derive: {field: z, ratio: [d, d]}", '"d" is decimal; ratio works on'),
        ("derive: {field: z, part: hour}", "`part` needs `of`"),
        ("derive: {field: z, part: hour, of: day}", '"day" is a date'),
        ("derive: {field: z, part: hours, of: at}", "for part"),
        ("derive: {field: z, concat: [s, x]}", '"x" is float64; concat works on'),
        ("derive: {field: z, sum: [n], separator: x}", "`separator` goes with `concat` alone"),
        ("derive: {field: N, sum: [n]}", 'There is a field "n" already'),
        ("derive: {field: _z, sum: [n]}", "can't be the name of a field"),
        ("derive: {field: 'z\"; import os', sum: [n]}", "can't be the name of a field"),
        ("rename: {n: s}", 'There is a field "s" already'),
        ("rename: {n: 5}", "Expected text, got a whole number for names."),
        ("drop_field: {fields: [at]}", '`event_time` names "at", which no clean event has'),
        ("cast: {field: at, to: string}", "it must be a timestamp"),
        ("cast: {field: age, to: string}", '"age"'),
    ],
)
def test_a_mistake_is_named(things, step, said):
    assert said in problem(things, step)


def test_every_mistake_is_found_with_its_line(things):
    said = problem(
        things, "trim: {fields: [s, n]}", "lower: {fields: [s]}", "upperr: {fields: [s]}", "cast: {field: s, to: json}"
    )
    assert "things/v1.yaml:20: " in said  # the line of the first step
    assert [line.split(": ")[0] for line in said.splitlines()] == [f"things/v1.yaml:{n}" for n in (20, 22, 23)]


def test_a_field_that_a_failed_step_would_have_made_is_no_second_mistake(things):
    said = problem(things, "derive: {field: z, sum: [s]}", "bounds: {field: z, max: 1}", "rename: {z: y}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "step",
    [
        "derive: {field: z, concat: [who, s]}",
        "derive: {field: z, sum: [age, n]}",
        "one_hot: {field: who, categories: [a]}",
        "label: {field: who, codes: {a: 1}, into: z}",
        "zscore: {field: age, mean: 1, std: 1, into: z}",
    ],
)
def test_what_is_computed_from_a_protected_field_is_protected_or_refused(things, step):
    assert "so it must be protected too" in problem(things, step)
    protected = things(FIELDS, [f"{step[:-1]}, privacy: hash}}"])
    made = protected.pipeline.schema.fields[-1]
    assert made.privacy is not None
    assert all(str(value).startswith("cwh1.") for value in [protected.value(made.name, who="a", s="b", age=1, n=1)])


def test_a_field_keeps_its_protection_where_it_is_changed_or_renamed(things):
    t = things(FIELDS, ["upper: {fields: [who]}", "rename: {who: person}", "label: {field: person, codes: {A: 1}}"])
    assert t.pipeline.schema.field("person").privacy.kind == "encrypt"
    assert t.value("person", who="a").startswith("cw1.")
    scaled = things(FIELDS, ["min_max: {field: age, min: 0, max: 100}"])
    assert scaled.pipeline.schema.field("age").privacy.kind == "generalise"


@pytest.mark.parametrize(
    ("fields", "more", "said"),
    [
        ("k: {type: string}", "", '`event_id` is "k", which can be null'),
        ("k: {type: float64, required: true}", "", "does not tell events apart"),
        ("k: {type: string, required: true, privacy: encrypt}", "", "only hash and pseudonym keep ids apart"),
        ("k: {type: string, required: true, privacy: drop}", "", "only hash and pseudonym keep ids apart"),
    ],
)
def test_keys_and_ids_must_tell_events_apart(things, fields, more, said):
    text = f"""\
stream: things
version: 1
owner: a
key: at
event_id: k
event_time: at
fields:
  at: {{type: timestamp, required: true}}
  {fields}
"""
    with pytest.raises(ContractError) as caught:
        bind(parse(text, "things/v1.yaml"))
    assert said in str(caught.value)


def test_what_steps_do_to_a_schema_is_known_beforehand(things):
    t = things(
        's: {type: string, required: true, allowed: [" a", b], max_length: 9}\nn: {type: int64, min: 0, max: 9}',
        ["trim: {fields: [s]}", "bounds: {field: n, max: 5}", "derive: {field: w, part: weekday, of: at, unit: day}"],
    )
    s, n, w = (t.pipeline.schema.field(name) for name in "snw")
    assert (s.required, s.allowed, s.max_length) == (True, ("a", "b"), 9)
    assert (n.minimum, n.maximum) == (0, 5)
    assert (w.type, w.required, w.minimum, w.maximum, w.unit) == ("int32", True, 1, 7, "day")


def test_the_reference_page_is_current():
    assert (ROOT / "docs/reference/steps.md").read_text() == steps_markdown()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.verb)
def test_every_example_is_in_the_language_and_every_argument_is_described(step):
    schema = json_schema(json_schemas())
    call = yaml.safe_load(step.example)
    jsonschema.validate(call, {"$ref": "#/$defs/step", "$defs": schema["$defs"]})
    step.parse(call[step.verb])
    for shape in json_schemas()[step.verb].get("properties", {}).values():
        assert "description" in shape or any("description" in one for one in shape["anyOf"])


def test_the_schema_of_the_language_refuses_what_bind_refuses():
    schema = json_schema(json_schemas())
    whole = {"$ref": "#/$defs/step", "$defs": schema["$defs"]}
    for wrong in ({"trim": {"field": "s"}}, {"trimm": {"fields": ["s"]}}, {"label": {"field": "s", "codes": {}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, whole)
