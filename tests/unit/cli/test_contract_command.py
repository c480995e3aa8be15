"""`clearwell contract check | show | test | schema`, as a person types them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from clearwell.cli.main import main
from clearwell.contract.tree import parse
from clearwell.steps.language import language_schema
from clearwell.testing.contracts import minimal_text as text

ROOT = Path(__file__).parents[3]
MASKED = "{type: int32, privacy: mask}"
ROUTED = "routes:\n  - {to: postgres, table: visits}\n"

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes a contract into a folder that the command then finds."""
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(tmp_path / "schemas"))
    monkeypatch.chdir(tmp_path)

    def write(extra: str = "", **changed: str) -> Path:
        stream, version = changed.get("stream", "visits"), changed.get("version", "1")
        path = tmp_path / "schemas" / stream / f"v{version}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(extra, **changed))
        return path

    return write


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["contract", *args])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_committed_contracts_are_right_and_their_examples_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(ROOT / "schemas"))
    assert run(capsys, "check")[0] == 0
    code, out, _ = run(capsys, "test", "flights", "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["failed"] == 0
    assert shown["passed"] >= 1


def test_check_says_one_line_for_each_right_file(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put(ROUTED)
    put("routes:\n  - {to: mongo, collection: calls}\n", stream="calls")
    code, out, err = run(capsys, "check")
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == ["schemas/calls/v1.yaml", "schemas/visits/v1.yaml"]
    code, out, _ = run(capsys, "check", "--json", "visits")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_check_shows_every_error_of_every_file(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put("steps:\n  - trm: {fields: [id]}\n  - trim: {fields: [idd]}\n")
    put("routs: []\n", stream="calls", owner="12")
    code, out, err = run(capsys, "check")
    assert code == 2
    assert "2 of 2 are invalid" in out
    assert [line.split(" ")[0] for line in err.splitlines()][:2] == [
        "schemas/calls/v1.yaml:3:",
        "schemas/calls/v1.yaml:11:",
    ]
    assert 'schemas/visits/v1.yaml:12: There is no step "trm". Did you mean "trim"?' in err
    code, out, err = run(capsys, "check", "calls", "--json")
    assert code == 2
    (only,) = json.loads(out)["contracts"]
    assert [(one["line"], one["file"]) for one in only["problems"]] == [
        (3, "schemas/calls/v1.yaml"),
        (11, "schemas/calls/v1.yaml"),
    ]


@pytest.mark.parametrize(
    ("extra", "changed", "said"),
    [
        ("routes:\n  - {to: postgress}\n", {}, '12: There is no destination "postgress". Did you mean "postgres"?'),
        ("routes:\n  - {to: postgres, tabel: x}\n", {}, 'has no option "tabel". Did you mean "table"?'),
        ("routes:\n  - {to: mongo, table: x}\n", {}, 'A route to mongo has no option "table".'),
        ("routes:\n  - {to: postgres, table: 'a; drop'}\n", {}, "must be a lower-case word"),
        ("routes:\n  - {to: postgres, table: 3}\n", {}, "must be text, not a whole number"),
        ("routes:\n  - {to: mongo}\n  - {to: mongo}\n", {}, "13: There are two routes to mongo"),
        ("routes:\n  - {to: mongo, when: {field: m, eq: 1}}\n", {}, 'There is no field "m" to compare here'),
        (
            "routes:\n  - {to: mongo, when: {field: n, eq: 1}}\n",
            {"n": "{type: int32, privacy: encrypt}"},
            "protected (encrypt)",
        ),
        ("", {"at": "{type: timestamp}"}, '`event_time` is "at", which can be null'),
        ("", {"at": "{type: date, required: true}"}, "must be a timestamp"),
        ("", {"id": "{type: string, required: true, privacy: mask}"}, "protected by mask"),
        ("", {"key": "n"}, '`key` is "n", which can be null'),
        ("", {"key": "idd"}, 'names "idd", which no clean event has. Did you mean "id"?'),
        (
            "steps:\n  - derive: {field: m, sum: [n, n]}\n",
            {"n": "{type: int32, privacy: mask}"},
            "must be protected too",
        ),
        (
            "steps:\n  - cast: {field: n, to: int32}\n",
            {"n": "{type: float64, privacy: {generalise: 0.5}}"},
            '"n" after the steps: a bucket of int32 must be a whole number',
        ),
    ],
)
def test_check_finds_what_only_the_clean_event_shows(
    put: Put, capsys: pytest.CaptureFixture[str], extra: str, changed: dict[str, str], said: str
) -> None:
    put(extra, **changed)
    code, _, err = run(capsys, "check", "visits")
    assert code == 2
    assert said in err


def test_two_streams_may_not_share_a_table(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put(ROUTED)
    put(ROUTED, stream="calls")
    code, _, err = run(capsys, "check")
    assert code == 2
    assert '"visits" in postgres holds the stream "calls" already' in err


def test_check_tells_readers_of_the_version_before(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put(ROUTED)
    put("  m: {type: int32}\n" + ROUTED, version="2")
    code, out, _ = run(capsys, "check", "schemas/visits/v2.yaml")
    assert code == 0
    assert "Readers of v1 can read it." in out
    put(ROUTED, version="2", n="{type: int64}")
    code, out, _ = run(capsys, "check", "visits")
    assert code == 0
    assert "Readers of v1 can't read it (n has another type)" in out


def test_what_is_not_there(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put()
    code, _, err = run(capsys, "check", "visit")
    assert code == 2
    assert 'Did you mean "visits"?' in err
    code, _, err = run(capsys, "check", "schemas/visits/v7.yaml")
    assert (code, err) == (2, "schemas/visits/v7.yaml:1: There is no such file.\n")
    code, _, err = run(capsys, "show", "visits", "--version", "3")
    assert (code, err) == (2, 'error: The stream "visits" has no version 3; it has v1.\n')


def test_show(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put("steps:\n  - rename: {n: number}\nroutes:\n  - {to: mongo, when: {not: {field: number, eq: 3}}}\n")
    code, out, _ = run(capsys, "show", "visits")
    assert code == 0
    assert "not (number eq 3)" in out
    code, out, _ = run(capsys, "show", "visits", "--json")
    shown: dict[str, Any] = json.loads(out)
    assert [field["name"] for field in shown["fields"]] == ["id", "at", "n"]
    assert [field["name"] for field in shown["clean"]] == ["id", "at", "number"]
    code, out, _ = run(capsys, "show", "visits", "--python")
    compile(out, "shown", "exec")
    assert out.startswith("def process(")


def test_list_and_compare(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put(ROUTED)
    put("  m: {type: int32}\n" + ROUTED, version="2")
    put(ROUTED, version="3", n="{type: int64}")
    listed = json.loads(run(capsys, "list", "--json")[1])["contracts"]
    assert [(one["stream"], one["version"], one["routes"]) for one in listed] == [
        ("visits", version, ["postgres"]) for version in (1, 2, 3)
    ]
    assert re.search("visits +v3", run(capsys, "list")[1])
    assert run(capsys, "compare", "visits", "--new", "2")[1] == "fine    m is new\nReaders of visits v1 can read v2.\n"
    compared = json.loads(run(capsys, "compare", "visits", "--old", "1", "--json")[1])
    assert compared == {
        "stream": "visits",
        "old": 1,
        "new": 3,
        "readable": False,
        "differences": [{"field": "n", "what": "has another type", "breaks": True}],
    }
    assert run(capsys, "compare", "visits", "--old", "7")[0] == 2


def test_examples_that_go_otherwise_are_told(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put(
        "steps:\n"
        "  - drop_when: {when: {field: n, eq: 0}}\n"
        "  - derive: {field: f, ratio: [n, n]}\n"
        "  - derive: {field: p, concat: [id], privacy: pseudonym}\n"
        "tests:\n"
        "  - name: right\n"
        "    given: {id: a, at: '2020-01-01T01:00:00+01:00', n: 1}\n"
        "    expect: {at: '2020-01-01T00:00:00Z', f: 1}\n"
        "  - {name: other, given: {id: a, at: '2020-01-01T00:00:00Z', n: 1}, expect: {n: 2, m: 1, p: x, id: null}}\n"
        "  - {name: true is not 1, given: {id: a, at: '2020-01-01T00:00:00Z', n: 1}, expect: {n: true}}\n"
        "  - {name: falls, given: {id: a, at: '2020-01-01T00:00:00Z', n: 0}, expect: {n: 0}}\n"
        "  - {name: dropped, given: {id: a, at: '2020-01-01T00:00:00Z', n: 0}, dropped: drop_when}\n"
        "  - {name: kept, given: {id: a, at: '2020-01-01T00:00:00Z', n: 1}, dropped: drop_when}\n"
        "  - {name: not json, given: '{', rejected: JSON}\n"
        "  - {name: another reason, given: [{id: a}, '{'], rejected: required}\n"
    )
    code, out, _ = run(capsys, "test", "visits", "--json")
    assert code == 1
    found = {one["name"]: one["problems"] for one in json.loads(out)["tests"]}
    assert found["right"] == found["dropped"] == found["not json"] == []
    assert found["other"] == [
        '"n" should be 2, but is 1',
        'the clean event has no field "m"',
        '"p" leaves as pseudonym, which is different under each key: leave it out',
        '"id" should be null, but is "a"',
    ]
    assert found["true is not 1"] == ['"n" should be true, but is 1']
    assert found["falls"] == ["it should be kept, but was dropped by 1.drop_when"]
    assert found["kept"] == ["it should be dropped by drop_when, but was kept"]
    assert found["another reason"][0].startswith('it should be rejected for "required", but was rejected by decode')
    code, out, _ = run(capsys, "test", "visits")
    assert code == 1
    assert "FAILED  falls" in out
    assert "3 of 8 passed." in out


def test_the_schema_for_editors_is_current_and_agrees_with_the_contracts() -> None:
    committed = json.loads((ROOT / "docs/reference/contract.schema.json").read_text())
    assert committed == language_schema(), "run `clearwell contract schema --write`"
    jsonschema.Draft202012Validator.check_schema(committed)
    validator = jsonschema.Draft202012Validator(committed)
    for path in (ROOT / "schemas").glob("*/v*.yaml"):
        validator.validate(_plain(path))
    for wrong in (
        {"stream": "x"},
        {**_plain(ROOT / "schemas/flights/v1.yaml"), "steps": [{"trm": {"fields": ["id"]}}]},
    ):
        assert not validator.is_valid(wrong)


def _plain(path: Path) -> Any:
    return parse(path.read_text(), str(path)).plain()


@pytest.mark.parametrize("given", [["there"], [], ["there/visits"]])
def test_a_check_of_nothing_is_no_success(
    put: Put, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    (tmp_path / "there" / "visits").mkdir(parents=True)
    (tmp_path / "there" / "visits" / "notes.yaml").write_text("a: 1\n")
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(tmp_path / "there"))
    code, out, err = run(capsys, "check", *given)
    assert (code, out) == (2, "")
    assert err.startswith("error: There are no contracts in ")
    assert err.endswith("write one as <stream>/v1.yaml.\n")


@pytest.mark.parametrize("name", ["v1.yml", "V1.yaml", "v01.yaml", "v1.YAML"])
def test_a_contract_by_another_name_is_not_passed_over(put: Put, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = put(ROUTED)
    path.rename(path.with_name(name))
    for given in ([], ["schemas"], ["schemas/visits"]):
        code, _, err = run(capsys, "check", *given)
        assert code == 2
        assert f'The file is called "{name}" but holds version 1: call it v1.yaml' in err


def both(put: Put, before: str, after: str, to: str = "postgres", more: str = "") -> None:
    put(f"routes:\n  - {{to: {to}}}\n", n=before)
    put(f"routes:\n  - {{to: {to}{more}}}\n", n=after, version="2")


INCOMPATIBLE = [
    ("{type: int64}", "{type: string}", "int64, which becomes string"),
    ("{type: int64}", "{type: float64}", "int64, which becomes float64"),
    ("{type: string}", "{type: int32, privacy: {generalise: 10}}", "string, which becomes int32"),
    ("{type: int32}", "{type: int32, privacy: hash}", "int32, which becomes string"),
    ("{type: int64}", "{type: decimal, precision: 20, scale: 2}", "int64, which becomes decimal(20,2)"),
    ("{type: decimal}", "{type: float64}", "decimal(38,9), which becomes float64"),
    ("{type: list, items: int32}", "{type: list, items: int64}", "list of int32, which becomes list of int64"),
    ("{type: timestamp}", "{type: date}", "timestamp, which becomes date"),
]


@pytest.mark.parametrize(("before", "after", "said"), INCOMPATIBLE)
@pytest.mark.parametrize(
    ("to", "what", "out"),
    [
        ("postgres", "table", "`table: visits_v2`"),
        ("mongo", "collection", "`collection: visits_v2`"),
        ("lake", "table", "`table: visits_v2`"),
        ("sql.x", "table", "`table: visits_v2`"),
        ("opensearch.x", "index", "`index: visits_v2`"),
        ("cassandra.x", "table", "`table: visits_v2`"),
        ("files.x", "folder", "`folder: visits_v2`"),
    ],
)
def test_a_changed_type_is_told_before_its_deliverer_stops(
    put: Put, capsys: pytest.CaptureFixture[str], before: str, after: str, said: str, to: str, what: str, out: str
) -> None:
    both(put, before, after, to)
    code, _, err = run(capsys, "check")
    assert code == 2
    assert err.startswith(f'schemas/visits/v2.yaml:12: The {what} "visits" of {to} was filled by v1 with "n" as ')
    assert said in err and out in err
    option = {"collection": "collection", "index": "index", "folder": "folder"}.get(what, "table")
    both(put, before, after, to, f", {option}: visits_v2")
    assert run(capsys, "check")[0] == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{type: int32}", "{type: int64}"),
        ("{type: int32}", "{type: float64}"),
        ("{type: int32}", "{type: decimal, precision: 12, scale: 2}"),
        ("{type: int64}", "{type: decimal, precision: 19, scale: 0}"),
        ("{type: decimal, precision: 10, scale: 2}", "{type: decimal, precision: 12, scale: 4}"),
    ],
)
def test_what_postgres_widens_by_itself_is_right_there_and_wrong_elsewhere(
    put: Put, capsys: pytest.CaptureFixture[str], before: str, after: str
) -> None:
    both(put, before, after)
    assert run(capsys, "check")[0] == 0
    both(put, before, after, "mongo")
    assert run(capsys, "check")[0] == 2


def test_a_changed_key_and_a_changed_view_are_told_and_other_places_are_left_alone(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    put(ROUTED)
    put(ROUTED, version="2", key="[id, at]")
    code, _, err = run(capsys, "check", "visits")
    assert code == 2 and "by the key (id), which becomes (id, at)" in err
    both(put, "{type: int64}", "{type: string}", "kafka.x")  # an event is no column
    assert run(capsys, "check", "visits")[0] == 0
    both(put, "{type: int64}", "{type: string}")
    put("routes:\n  - {to: postgres}\n", version="3")  # back to v1's int32: v2's text is in the way
    code, _, err = run(capsys, "check", "schemas/visits/v3.yaml")
    assert code == 2 and "was filled by v2" in err
