"""`clearwell connector spec` and `discover`, which need no stack: options, schemas, and drafted contracts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator

from clearwell.cli.main import main
from clearwell.plugins.kinds import kinds
from clearwell.plugins.options import describe_source, source_schema
from clearwell.source import SECRET, SourceConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `clearwell connector …` in an empty folder, where no stack is: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "SCHEMAS", "KAFKA", "POSTGRES", "MONGO"):
        monkeypatch.delenv(f"CLEARWELL_{name}", raising=False)

    def go(*args: object) -> tuple[int, str, str]:
        code = main(["connector", *map(str, args)])
        return code, *capsys.readouterr()

    return go


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A specification of orders, whose file has three events with an e-mail address."""
    rows = [
        {"order_id": f"o{n}", "at": "2024-01-01T00:00:00Z", "buyer": f"canary{n}@example.org", "n": n} for n in range(3)
    ]
    (tmp_path / "orders.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    (tmp_path / "orders.yaml").write_text("name: o\nsource: file\nstream: orders\nconfig: {path: orders.ndjson}\n")
    return "orders.yaml"


@pytest.mark.parametrize("name", kinds())
def test_every_kind_tells_its_options_and_schemas(run: Run, name: str) -> None:
    code, out, _ = run("spec", name)
    told = describe_source(name)
    assert code == 0 and told.summary and all(f"  {option.name}  " in out for option in told.options)
    schema = json.loads(run("spec", name, "--json")[1])
    Draft202012Validator.check_schema(schema["config"])
    assert (schema["position"] is None) == told.push
    if schema["position"] is not None:
        Draft202012Validator.check_schema(schema["position"])
    assert schema["secrets"] == source_schema(name)["secrets"]


def test_all_kinds_are_listed_with_a_line_each(run: Run) -> None:
    code, out, _ = run("spec")
    assert code == 0 and [line.split()[0] for line in out.splitlines()[1:]] == kinds()
    assert [one["kind"] for one in json.loads(run("spec", "--json")[1])["kinds"]] == kinds()


def test_a_wrong_kind_is_answered_with_the_nearest(run: Run) -> None:
    code, out, err = run("spec", "fiel")
    assert (code, out) == (2, "") and 'Did you mean "file"?' in err


class Token(msgspec.Struct, frozen=True, tag="token", tag_field="kind"):
    """A token.

    value: the token itself.
    """

    value: Annotated[str, SECRET]


class Config(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to be told. It has two
    sentences.

    What else is to say.
    """

    mode: Annotated[Literal["b", "a"], msgspec.Meta(description='"a" does this: that.')] = "a"
    auth: Annotated[Token | None, msgspec.Meta(description="who we are.")] = None
    low: Annotated[int, msgspec.Meta(ge=1, lt=9, description="the bound.")]
    high: list[float] = []
    keys: list[Annotated[str, SECRET]] | Literal["none"] = []


def test_options_are_told_with_those_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Source:
        """A source."""

    Source.Config = Config  # type: ignore[attr-defined]
    monkeypatch.setattr("clearwell.plugins.options.source_class", lambda name: Source)
    kind = describe_source("x")
    assert kind.text == "How to be told. It has two sentences.\n\nWhat else is to say."
    told = {one.name: (one.type, one.required, one.default, one.secret) for one in kind.options}
    assert told == {
        "mode": ("a | b", False, '"a"', None),
        "auth": ("map (kind: token)", False, None, None),
        "auth(token).value": ("text", True, None, "whole"),
        "low": ("whole number ≥ 1 and < 9", True, None, None),
        "high": ("list of number", False, "[]", None),
        "keys": ("list of text or none", False, "[]", "whole"),
    }
    texts = {"mode": '"a" does this: that.', "auth": "who we are.", "low": "the bound."}
    assert {one.name: one.text for one in kind.options if one.text} == texts


def test_check_needs_no_stack(run: Run, spec: str) -> None:
    assert run("check", spec)[:2] == (0, 'Connector "o" (file) is OK: its source can be read.\n')
    Path("orders.ndjson").unlink()
    code, out, err = run("check", spec)
    assert (code, out) == (2, "") and "does not exist" in err


def test_samples_are_shown_only_when_asked_for(run: Run, spec: str) -> None:
    for flags in ((), ("--json",)):
        code, out, _ = run("discover", spec, *flags)
        assert code == 0 and "order_id" in out and "canary" not in out
        assert "canary" in run("discover", spec, "--samples", *flags)[1]


def test_a_drafted_contract_passes_the_check_and_is_never_overwritten(
    run: Run, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("schemas/orders/v1.yaml")
    code, drafted, _ = run("discover", spec, "--write-contract", "--dry-run")
    assert code == 0 and not path.parent.exists()
    code, out, _ = run("discover", spec, "--write-contract")
    assert code == 0 and "buyer looks like an e-mail address: protected." in out
    assert path.read_text() == drafted and "canary" not in drafted
    assert main(["contract", "check", "orders"]) == 0
    assert "1 protected" in capsys.readouterr().out
    for flags in ((), ("--dry-run",)):
        code, _, err = run("discover", spec, "--write-contract", *flags)
        assert code == 2 and "is there already" in err and path.read_text() == drafted
    shown = json.loads(run("discover", spec, "--write-contract", "--into", "other", "--json")[1])
    assert Path(shown["file"]) == Path("other/orders/v1.yaml") and Path(shown["file"]).read_text() == drafted
    assert shown["personal"] == {"buyer": "looks like an e-mail address"}


def test_what_a_source_offers_can_not_steer_the_terminal(run: Run, spec: str) -> None:
    Path("orders.ndjson").write_bytes(b'{"\\u001b[2J": "\\u009b2J"}')
    out = run("discover", spec, "--samples")[1]
    assert "\\x1b[2J" in out and "\x1b" not in out and "\x9b" not in out


def test_a_draft_of_a_stream_that_is_not_offered_is_refused(run: Run, spec: str) -> None:
    code, _, err = run("discover", spec, "--write-contract", "--from", "order")
    assert code == 2 and 'Did you mean "orders"?' in err
    Path("orders.ndjson").write_bytes(b"")
    code, _, err = run("discover", spec, "--write-contract")
    assert code == 2 and "no events yet" in err


def test_dates_in_a_specification_stay_text_and_aliases_are_refused(run: Run, spec: str) -> None:
    Path(spec).write_text("name: o\nsource: file\nstream: orders\nconfig: {path: 2024-01-01}\n")
    assert "2024-01-01 does not exist" in run("check", spec)[2]
    Path(spec).write_text("name: o\nsource: file\nstream: &a orders\nconfig: {path: *a}\n")
    code, _, err = run("check", spec)
    assert code == 2 and "aliases" in err
    Path(spec).write_text("name: o\nsource: file\nstream: orders\nconfig: {path: !!binary YQ==}\n")
    code, _, err = run("check", spec)
    assert code == 2 and "JSON" in err and err.count("\n") == 1
