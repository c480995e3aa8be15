"""`clearwell contract`: check, show and test the contracts of streams."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from clearwell import settings
from clearwell.cli.contract.check import Checked, check_file, check_together
from clearwell.cli.contract.schema import language_schema
from clearwell.cli.contract.show import as_object, as_text
from clearwell.cli.group import Group
from clearwell.cli.output import emit, json_option, say
from clearwell.contract.load import contract_files, find_file, load, version_of
from clearwell.errors import ConfigError
from clearwell.pipeline.compiler import compile as compile_pipeline
from clearwell.testing.examples import Result, run_examples
from clearwell.testing.keys import MemoryKeyring

SCHEMA_FILE = Path("docs/reference/contract.schema.json")
_LIKE_A_CONTRACT = re.compile(r"[vV][0-9]+\.[yY][aA]?[mM][lL]")
_VERSION = click.option("--version", "number", type=click.IntRange(1, 9_999), help="Default: the highest.")


@click.group(cls=Group)
def contract() -> None:
    """Check, show and test contracts: the YAML files schemas/<stream>/v<version>.yaml."""


@contract.command()
@click.argument("targets", nargs=-1, metavar="[PATH|STREAM]...")
@json_option
@click.pass_context
def check(ctx: click.Context, targets: Sequence[str], as_json: bool) -> None:
    """Check contracts, all of them by default; exit code 2 when one is wrong.

    Every error is shown with its file and line. Where the version before is there too, you also hear whether its
    readers can read the new one.

    \b
      clearwell contract check
      clearwell contract check flights
      clearwell contract check schemas/flights/v2.yaml
    """
    checked = check_together([check_file(path) for path in _files(targets)])
    wrong = [one for one in checked if one.problems]
    emit(as_json, {"contracts": checked, "ok": not wrong}, lambda: _said(checked))
    if not as_json:
        for problem in (problem for one in wrong for problem in one.problems):
            say(str(problem), err=True)
    if wrong:
        ctx.exit(ConfigError.exit_code)


def _said(checked: Sequence[Checked]) -> str:
    lines = [one.summary for one in checked]
    wrong = sum(bool(one.problems) for one in checked)
    return "\n".join([*lines, f"{wrong} of {len(checked)} are wrong:"] if wrong else lines)


@contract.command()
@click.argument("stream", metavar="STREAM|PATH")
@_VERSION
@click.option("--python", is_flag=True, help="Print the Python that the contract is compiled to.")
@json_option
def show(stream: str, number: int | None, python: bool, as_json: bool) -> None:
    """Show a contract: the fields that come in, the steps, and the clean event that goes out.

    \b
      clearwell contract show flights
      clearwell contract show flights --python
    """
    pipeline = compile_pipeline(load(_file(stream, number)), MemoryKeyring())
    if python:
        emit(as_json, {"python": pipeline.source}, lambda: pipeline.source)
        return
    emit(as_json, as_object(pipeline), lambda: as_text(pipeline))


@contract.command()
@click.argument("stream", metavar="STREAM|PATH")
@_VERSION
@json_option
@click.pass_context
def test(ctx: click.Context, stream: str, number: int | None, as_json: bool) -> None:
    """Run the examples that a contract carries, without Kafka; exit code 1 when one goes otherwise.

    \b
      clearwell contract test flights
    """
    pipeline = compile_pipeline(load(_file(stream, number)), MemoryKeyring())
    results = run_examples(pipeline)
    failed = [one for one in results if not one.passed]
    shown = [{"name": one.name, "passed": one.passed, "problems": one.problems} for one in results]
    emit(as_json, {"tests": shown, "passed": len(results) - len(failed), "failed": len(failed)}, lambda: _told(results))
    if failed:
        ctx.exit(1)


def _told(results: Sequence[Result]) -> str:
    if not results:
        return "The contract carries no examples: write some under `tests:`."
    lines = []
    for one in results:
        lines.append(f"{'passed' if one.passed else 'FAILED'}  {one.name}")
        lines += [f"        {one.where}: {problem}." for problem in one.problems]
    return "\n".join([*lines, f"{sum(one.passed for one in results)} of {len(results)} passed."])


@contract.command()
@click.option("--write", is_flag=True, help=f"Write {SCHEMA_FILE} below this folder instead of printing.")
@json_option
def schema(write: bool, as_json: bool) -> None:
    """Print the JSON Schema of the contract language, for editors (it is JSON with or without --json)."""
    text = json.dumps(language_schema(), indent=2) + "\n"
    if not write:
        click.echo(text, nl=False)
        return
    try:
        SCHEMA_FILE.parent.mkdir(parents=True, exist_ok=True)
        SCHEMA_FILE.write_text(text)
    except OSError as error:
        raise ConfigError(f"{SCHEMA_FILE} can't be written: {error.strerror}.") from error
    emit(as_json, {"file": str(SCHEMA_FILE)}, lambda: f"Wrote {SCHEMA_FILE}.")


def _files(targets: Sequence[str]) -> list[Path]:
    """The contract files that the arguments mean: files, folders of contracts, or streams (all their versions)."""
    folder = settings.schemas_folder()
    if not targets:
        contract_files(folder)  # says so when there is no such folder
        return [_short(path) for path in _inside(folder)]
    paths: list[Path] = []
    for target in targets:
        path = Path(target)
        if path.is_dir():
            paths += _inside(path)
        elif _means_file(target):
            paths.append(path)
        else:
            find_file(folder, target)
            paths += [one for one in contract_files(folder) if one.parent.name == target]
    return [_short(path) for path in paths]


def _inside(folder: Path) -> list[Path]:
    """The contracts in a folder of streams, or of one stream; misnamed ones too, so that none is passed over.

    Raises ConfigError when there are none: a check of nothing would look like a check that went well.
    """
    found = [path for path in (*folder.glob("*/*"), *folder.glob("*")) if _LIKE_A_CONTRACT.fullmatch(path.name)]
    if not found:
        raise ConfigError(f"There are no contracts in {folder}: write one as <stream>/v1.yaml.")
    return sorted(found, key=lambda path: (path.parent, version_of(path), path))


def _file(target: str, number: int | None) -> Path:
    found = Path(target) if _means_file(target) else find_file(settings.schemas_folder(), target, number)
    return _short(found)


def _means_file(target: str) -> bool:
    return target.endswith((".yaml", ".yml")) or "/" in target


def _short(path: Path) -> Path:
    """The path as people here would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path
