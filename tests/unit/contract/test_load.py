"""Every way in which a contract can be wrong, each with its line and, where there is one, the right spelling."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clearwell.contract.load import all_contracts, contract_files, find, load, parse
from clearwell.contract.model import Condition, Op, RejectionLimits, Type, UnknownFields
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.contract.problems import ContractProblems
from clearwell.contract.tree import MAX_BYTES
from clearwell.errors import ConfigError, ContractError, Location
from clearwell.testing.contracts import MINIMAL
from clearwell.testing.contracts import minimal_contract as contract
from clearwell.testing.contracts import minimal_text as text

SCHEMAS = Path(__file__).parents[3] / "schemas"


def test_the_flights_contract_loads() -> None:
    flights = load(SCHEMAS / "flights" / "v1.yaml")
    assert (flights.stream, flights.version, flights.key, flights.subject) == ("flights", 1, ("id",), "tailnum")
    assert flights.unknown_fields is UnknownFields.REJECT
    by_name = {field.name: field for field in flights.fields}
    assert by_name["tailnum"].privacy == Privacy(PrivacyKind.ENCRYPT)
    assert by_name["origin"].allowed == ("EWR", "JFK", "LGA")
    assert (by_name["month"].minimum, by_name["month"].maximum) == (1, 12)
    assert [step.name for step in flights.steps][:3] == ["trim", "upper", "deduplicate"]
    assert flights.steps[3].lines["when.eq"].line == flights.lines["steps.3.drop_when.when.eq"].line
    assert [(route.to, dict(route.options)) for route in flights.routes[:2]] == [
        ("postgres", {"table": "flights"}),
        ("mongo", {"collection": "flights"}),
    ]
    assert (flights.routes[2].to, flights.routes[2].options["entity"]) == ("features.carrier_delays", "carrier")
    assert flights.examples[0].given[0]["time_hour"] == "2013-01-01T10:00:00Z"


def test_what_is_left_out_has_its_default() -> None:
    small = contract()
    assert small.limits == RejectionLimits(5_000, 10_000)
    assert (small.subject, small.steps, small.routes, small.examples, small.description) == (None, (), (), (), "")
    assert small.unknown_fields is UnknownFields.REJECT
    assert small.fields[2].location == Location("visits/v1.yaml", 10, 3)


def test_everything_that_may_be_written_is_read() -> None:
    read = contract(
        "  d: {type: decimal, precision: 10, scale: 2, min: '-1.50', max: 9}\n"
        "  l: {type: list, items: int64, max_length: 3}\n"
        "  b: {type: bytes, max_length: 10}\n"
        "  day: {type: date, min: 2020-01-01}\n"
        "  age: {type: int32, privacy: {generalise: 10}}\n"
        "  seen: {type: timestamp, max: '2030-01-01T00:00:00.500+02:00'}\n"
        "unknown_fields: keep\n"
        "limits: {rejected: 1, of_last: 2}\n"
        "routes:\n"
        "  - to: postgres\n"
        "    when: {any: [{field: n, in: [1, 2]}, {not: {field: n, exists: true}}]}\n"
        "tests:\n"
        "  - {name: a, given: [{id: x}, '{'], rejected: JSON}\n"
        "  - {name: b, given: {id: x}, dropped: trim}\n",
        key="[id, at]",
    )
    by_name = {field.name: field for field in read.fields}
    assert (by_name["d"].minimum, by_name["d"].maximum, by_name["d"].scale) == ("-1.50", "9", 2)
    assert by_name["l"].items is Type.INT64
    assert by_name["day"].minimum == "2020-01-01"
    assert by_name["age"].privacy == Privacy(PrivacyKind.GENERALISE, 10.0)
    assert by_name["seen"].maximum == "2029-12-31T22:00:00.5Z"
    assert read.key == ("id", "at")
    assert read.examples[0].given == ({"id": "x"}, "{")
    when = read.routes[0].when
    assert when is not None and when.op is Op.ANY
    inside = when.parts[1].parts[0]
    assert inside == Condition(Op.EXISTS, "n", True, location=inside.location)


WRONG = [
    # what is written, the line of the error, a part of the message
    (MINIMAL.replace("stream:", "stram:"), 1, 'no key "stram". Did you mean "stream"?'),
    (MINIMAL.replace("stream: visits\n", ""), 1, 'lacks the key "stream"'),
    (text(stream="Visits"), 1, "must be lower-case letters, digits and _"),
    (text(stream="visits;drop"), 1, "must be lower-case letters"),
    (text(stream='"visits\\n"'), 1, "must be lower-case letters"),
    (text(version="'1'"), 2, "must be a whole number, not text"),
    (text(version="1.0"), 2, "must be a whole number, not a number"),
    (text(version="true"), 2, "must be a whole number, not true or false"),
    (text(version="0"), 2, "between 1 and 9999"),
    (text(owner="12"), 3, "must be text, not a whole number: write it in quotes"),
    (text(owner=""), 3, "is empty: give it a value or remove it"),
    (text(owner='"{{ team }}"'), 3, "templating is not part of the language"),
    (text(owner='"${TEAM}"'), 3, "templating is not part of the language"),
    (text(key="[]"), 4, "must hold 1 to 16 items"),
    (text(key="[id, id]"), 4, '"id" is there twice'),
    (text(key="{id: 1}"), 4, "must be text, not a map"),
    (text(event_id="_id"), 5, "beginning with a letter"),
    (text(n="{type: int23}"), 10, 'can\'t be "int23"'),
    (text(n="{type: int23}"), 10, 'Did you mean "int32"?'),
    (text(n="{typ: int32}"), 10, 'Did you mean "type"?'),
    (text(n="int32"), 10, "must be a map, not text"),
    (text(n="{min: 1}"), 10, 'field "n" lacks the key "type"'),
    (text(n="{type: int32, required: yes}"), 10, "must be true or false, not text"),
    (text(n="{type: int32, min: 1.5}"), 10, "`min` must be a whole number, not a number"),
    (text(n="{type: int32, min: '1'}"), 10, "`min` must be a whole number, not text"),
    (text(n="{type: int32, max: 2147483648}"), 10, "does not fit int32"),
    (text(n="{type: int64, max: 9223372036854775808}"), 10, "does not fit int64"),
    (text(n="{type: int32, min: 5, max: 4}"), 10, "`min` is larger than `max`"),
    (text(n="{type: int32, min: [1]}"), 10, "must be one value, not a list"),
    (text(n="{type: int32, min: null}"), 10, "is empty"),
    (text(n="{type: decimal, min: 1.5}"), 10, "must be a decimal in quotes, not a number"),
    (text(n="{type: decimal, min: '1e5'}"), 10, 'must be a decimal such as "12.50"'),
    (text(n="{type: decimal, min: '10', max: '9'}"), 10, "`min` is larger than `max`"),
    (text(n="{type: decimal, precision: 2, scale: 3}"), 10, "`scale` is larger than `precision`"),
    (text(n="{type: timestamp, min: 2020-01-01}"), 10, "must be an RFC 3339 timestamp with an offset"),
    (text(n="{type: timestamp, min: '2020-02-30T00:00:00Z'}"), 10, "must be an RFC 3339 timestamp"),
    (text(n="{type: date, min: 2020-02-30}"), 10, "must be a date"),
    (text(n="{type: string, min: 1}"), 10, "`min` does not apply to string"),
    (text(n="{type: int32, pattern: a}"), 10, "`pattern` does not apply to int32"),
    (text(n="{type: int32, max_length: 2}"), 10, "`max_length` does not apply to int32"),
    (text(n="{type: string, max_length: 0}"), 10, "between 1 and"),
    (text(n="{type: int32, scale: 2}"), 10, "`scale` does not apply to int32"),
    (text(n="{type: string, unit: m}"), 10, "`unit` does not apply to string"),
    (text(n="{type: list}"), 10, "a list needs `items`"),
    (text(n="{type: list, items: json}"), 10, 'can\'t be "json"'),
    (text(n="{type: int32, items: int32}"), 10, "`items` does not apply to int32"),
    (text(n="{type: int32, allowed: ['1']}"), 10, "each of `allowed` must be a whole number, not text"),
    (text(n="{type: string, allowed: [NO, true]}"), 10, "each of `allowed` must be text, not true or false"),
    (text(n="{type: int32, allowed: []}"), 10, "must hold 1 to"),
    (text(n="{type: int32, allowed: [1, 1]}"), 10, "names a value twice"),
    (text(n="{type: int32, allowed: [null]}"), 10, "must be one value, not nothing"),
    (text(n="{type: json, allowed: [1]}"), 10, "can't be compared"),
    (text(n="{type: string, pattern: '('}"), 10, "is not a regular expression"),
    (text(n="{type: int32, privacy: encrpyt}"), 10, 'Did you mean "encrypt"?'),
    (text(n="{type: int32, privacy: generalise}"), 10, "write {generalise: 10}"),
    (text(n="{type: int32, privacy: {generalise: 0}}"), 10, "must be a number above 0"),
    (text(n="{type: int32, privacy: {generalise: 0.5}}"), 10, "must be a whole number"),
    (text(n="{type: decimal, scale: 1, privacy: {generalise: 0.25}}"), 10, "at most 1 digits after the point"),
    (text(n="{type: string, privacy: {generalise: 5}}"), 10, "generalise does not apply to string"),
    (text(n="{type: int32, privacy: {round: 5}}"), 10, 'no key "round"'),
    (text("  _x: {type: int32}\n"), 11, "beginning with a letter"),
    (text('  "a b": {type: int32}\n'), 11, "letters, digits and _"),
    (text("  ID: {type: int32}\n"), 11, '"ID" and "id" differ only in case'),
    (text("  extra: {type: int32}\nunknown_fields: keep\n"), 11, '"extra" is reserved'),
    (text("unknown_fields: kep\n"), 11, 'Did you mean "keep"?'),
    (text("steps: {trim: {}}\n"), 11, "must be a list, not a map"),
    (text("steps:\n  - trim\n"), 12, "must be a map with one key"),
    (text("steps:\n  - {trim: {}, upper: {}}\n"), 12, "must be a map with one key"),
    (text("steps:\n  - replace: {with: '${x}'}\n"), 12, "templating is not part of the language"),
    (text("routes:\n  - {table: x}\n"), 12, 'lacks the key "to"'),
    (text("routes:\n  - {to: postgres, when: {field: n, equals: 1}}\n"), 12, '"equals" is not a word of a condition.'),
    (text("limits: {rejected: 3, of_last: 2}\n"), 11, "can't be more than `of_last` (2)"),
    (text("limits: {rejectd: 3}\n"), 11, 'Did you mean "rejected"?'),
    (text("tests:\n  - {name: a, given: {}}\n"), 12, "exactly one of `expect`, `dropped` and `rejected`"),
    (text("tests:\n  - {name: a, given: {}, expect: {}, dropped: x}\n"), 12, "exactly one of"),
    (text("tests:\n  - {given: {}, expect: {}}\n"), 12, 'lacks the key "name"'),
    (text("tests:\n  - {name: a, given: 3, expect: {}}\n"), 12, "must be an event"),
    (text("tests:\n  - {name: a, given: [], expect: {}}\n"), 12, "must be an event"),
    (text("tests:\n  - &x {name: a, given: {}, expect: {}}\n"), 12, "Anchors"),
    (
        text("tests:\n  - {name: a, given: {}, dropped: x}\n  - {name: a, given: {}, dropped: x}\n"),
        13,
        "is there twice",
    ),
    (MINIMAL.replace("fields:", "fields: []\nfeilds:"), 8, 'Did you mean "fields"?'),
    (MINIMAL + "owner: again\n", 11, '"owner" is written twice; it was first written on line 3'),
    (MINIMAL.replace("owner: team@example.com", "owner: *team"), 3, "Aliases"),
    (MINIMAL.replace("n: {type", "n: {<<: {a: 1}, type"), 10, "Merge keys"),
    (MINIMAL.replace("version: 1", "version: !!int 1"), 2, "Tags"),
    (MINIMAL.replace("version: 1", "version: !!python/object/apply:os.system [ls]"), 2, "Tags"),
    (MINIMAL.replace("version: 1", "version: 01"), 2, "Readers differ on what 01 is"),
    (MINIMAL.replace("version: 1", "version: 0x1"), 2, "Readers differ"),
    (MINIMAL.replace("version: 1", "version: 1_0"), 2, "Readers differ"),
    (text(n="{type: float64, min: .nan}"), 10, "Readers differ"),
    (text(n="{type: float64, min: 1e999}"), 10, "too large for a float64"),
    (text(n="{true: 1}"), 10, 'A key must be text: write "true" in quotes'),
    (text(n="{{ x }}"), 10, "A key must be text"),
    (text(owner='"\\ud800"'), 3, "lone surrogate"),
    (text(owner='"a\\0b"'), 3, "NUL"),
    (text(owner='"\\UFFFFFFFF"'), 1, "names no character"),
    (MINIMAL + "---\nstream: x\n", 11, "A file holds one contract"),
    ("%YAML 1.2\n---\nstream: x\n", 1, "Directives"),
    ("", 1, "The file is empty"),
    ("# nothing\n", 1, "The file is empty"),
    ("- 1\n", 1, "must be a map, not a list"),
    ("stream: [\n", 2, "This is not YAML"),
    ("stream: \x07\n", 1, "This is not YAML"),
    ("\tstream: x\n", 1, "This is not YAML"),
    (MINIMAL + "x: " + "[" * 100 + "\n", 11, "nested deeper"),
    ("a: b\n" * 1 + "x" * MAX_BYTES, 1, "larger than 256 KiB"),
    (MINIMAL + "description: " + "x" * 30_000, 11, "longer than 20000"),
]


@pytest.mark.parametrize(("written", "line", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_line(written: str, line: int, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse(written, "visits/v1.yaml")
    found = str(caught.value).splitlines()
    assert any(one.startswith(f"visits/v1.yaml:{line}: ") and said in one for one in found), found


def test_all_errors_of_a_file_are_told_in_its_order() -> None:
    with pytest.raises(ContractProblems) as caught:
        contract("  m: {type: strin}\nrouts: []\n", version="0", n="{type: int32, min: x}")
    assert [(where.line, bool(message)) for where, message in caught.value.problems] == [
        (2, True),
        (10, True),
        (11, True),
        (12, True),
    ]
    assert str(caught.value).count("visits/v1.yaml:") == 4
    assert caught.value.exit_code == 2


def test_a_thousand_errors_are_counted_not_listed() -> None:
    wrong = "".join(f"  f{number}: {{type: nope}}\n" for number in range(900))
    with pytest.raises(ContractProblems) as caught:
        contract(wrong)
    assert len(caught.value.problems) == 900
    assert len(str(caught.value).splitlines()) == 51
    assert str(caught.value).endswith("... and 850 more.")


def test_yaml_1_2_has_no_surprises() -> None:
    read = contract("  c: {type: string, allowed: [NO, yes, on, 2020-01-01, 12:30, 'null', 1e]}\n")
    assert read.fields[3].allowed == ("NO", "yes", "on", "2020-01-01", "12:30", "null", "1e")


@pytest.mark.parametrize(
    "hostile",
    ["[" * 200_000, "{a: " * 60_000, "- " * 100_000, "a: *b\n" * 40_000, "? " * 100_000, "x: [" + "1," * 120_000 + "]"],
    ids=["lists", "maps", "dashes", "aliases", "keys", "items"],
)
def test_a_hostile_file_cannot_hang_the_reader(hostile: str) -> None:
    began = time.process_time()
    with pytest.raises(ContractError):
        parse(hostile, "visits/v1.yaml")
    assert time.process_time() - began < 10


def put(folder: Path, stream: str, file: str, written: str = MINIMAL) -> Path:
    path = folder / stream / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written)
    return path


def test_the_path_and_the_content_agree(tmp_path: Path) -> None:
    assert load(put(tmp_path, "visits", "v1.yaml")).stream == "visits"
    with pytest.raises(ContractError, match=r'v2\.yaml:2: The file is called "v2\.yaml" but holds version 1'):
        load(put(tmp_path, "visits", "v2.yaml"))
    with pytest.raises(ContractError, match=r'v1\.yaml:1: The file is in the folder "vists"'):
        load(put(tmp_path, "vists", "v1.yaml"))
    with pytest.raises(ContractError, match=r'is called "visits\.yml"'):
        load(put(tmp_path, "visits", "visits.yml"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such file"):
        load(tmp_path / "visits" / "v1.yaml")
    with pytest.raises(ContractError, match="no such file"):
        load(tmp_path)
    path = put(tmp_path, "visits", "v1.yaml")
    path.write_bytes(b"stream: \xff\n")
    with pytest.raises(ContractError, match="not UTF-8"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())  # a byte order mark is not an error
    assert load(path).stream == "visits"


def test_find_takes_the_highest_version_by_number(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        put(tmp_path, "visits", f"v{number}.yaml", text(version=str(number)))
    put(tmp_path, "calls", "v1.yaml", text(stream="calls"))
    put(tmp_path, "calls", "notes.yaml", "not a contract")
    assert find(tmp_path, "visits").version == 10
    assert find(tmp_path, "visits", 2).version == 2
    assert [(one.stream, one.version) for one in all_contracts(tmp_path)] == [
        ("calls", 1),
        ("visits", 1),
        ("visits", 2),
        ("visits", 10),
    ]
    with pytest.raises(ConfigError, match=r'no contract for a stream "vists" in .*Did you mean "visits"\?'):
        find(tmp_path, "vists")
    with pytest.raises(ConfigError, match=r"has no version 3; it has v1, v2, v10\."):
        find(tmp_path, "visits", 3)
    with pytest.raises(ConfigError, match="There is no folder of contracts"):
        contract_files(tmp_path / "nowhere")


def test_a_route_is_taken_by_its_destination() -> None:
    flights = load(SCHEMAS / "flights" / "v1.yaml")
    assert flights.route("mongo") is flights.routes[1]
    with pytest.raises(ConfigError, match=r'flights v1 has no route to mungo\. Did you mean "mongo"\?'):
        flights.route("mungo")
