"""`clearwell contract`: list, check, show, compare and test the contracts of streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell.cli.contract.publish import publish, retire
from clearwell.cli.contract.show import render_contract
from clearwell.cli.group import Group
from clearwell.cli.output import common_options, emit, json_option, say, table
from clearwell.cli.platform import platform_if_any
from clearwell.cli.results import to_json
from clearwell.contract.load import read as contract_text
from clearwell.control import contracts
from clearwell.control.contract_checks import CheckedContract, check_contracts
from clearwell.control.published_contracts import (
    PublishedVersion,
    describe_publication,
    published_versions,
)
from clearwell.errors import ConfigError
from clearwell.pipeline.examples import ExampleResult
from clearwell.settings import schemas_folder
from clearwell.steps.language import language_schema

SCHEMA_FILE = Path("docs/reference/contract.schema.json")
_VERSION = click.option("--version", "number", type=click.IntRange(1, 9_999), help="Default: the highest.")


@click.group(cls=Group)
def contract() -> None:
    """List, check, publish and test contracts: the YAML files schemas/<stream>/v<version>.yaml."""


contract.add_command(publish)
contract.add_command(retire)


@contract.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show all contracts, version by version, and what is published of each.

    Workers and collectors go by what is published: where the file says something else by now, that is shown, and what
    is published without a file. Without a platform the files alone are shown.
    """
    listed = contracts.list_contracts(schemas_folder())
    with platform_if_any() as platform:
        published = published_versions(platform)
    files = [(entry, contract_text(Path(entry.file))) for entry in listed]
    known = {(entry.stream, entry.version) for entry in listed}
    lone = [version for key, version in (published or {}).items() if key not in known]
    rows = [
        [
            entry.stream,
            f"v{entry.version}",
            entry.owner,
            entry.fields,
            entry.steps,
            entry.examples,
            ", ".join(entry.routes),
            "?" if published is None else describe_publication(published.get((entry.stream, entry.version)), text),
        ]
        for entry, text in files
    ]
    rows += [[gone.stream, f"v{gone.version}", *[""] * 5, describe_publication(gone, None)] for gone in lone]
    shown = [
        msgspec.to_builtins(entry)
        | {"published": None if published is None else _published(published.get((entry.stream, entry.version)), text)}
        for entry, text in files
    ]
    heads = ("stream", "version", "owner", "fields", "steps", "examples", "routes", "published")
    value = {"contracts": shown, "without_file": [_published(gone, None) for gone in lone]}
    emit(as_json, value, lambda: table(heads, rows) if rows else "There are no contracts yet.")


def _published(version: PublishedVersion | None, text: str | None) -> dict[str, Any] | None:
    """As --json has it; `differs`: the file says something else by now, None where there is none."""
    if version is None:
        return None
    return to_json(version) | {"differs": None if text is None else version.differs(text)}


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
    checked = check_contracts(contracts.find_contract_files(schemas_folder(), targets))
    problems = [problem for checked_file in checked for problem in checked_file.problems]
    emit(as_json, {"contracts": checked, "ok": not problems}, lambda: _render_checks(checked))
    if not as_json:
        for problem in problems:
            say(str(problem), err=True)
    if problems:
        ctx.exit(ConfigError.exit_code)


def _render_checks(checked: Sequence[CheckedContract]) -> str:
    lines = [checked_file.summary for checked_file in checked]
    invalid = sum(bool(checked_file.problems) for checked_file in checked)
    return "\n".join([*lines, f"{invalid} of {len(checked)} are invalid:"] if invalid else lines)


@contract.command()
@click.argument("stream", metavar="STREAM|PATH")
@_VERSION
@click.option("--python", is_flag=True, help="Print the Python that the contract is compiled to.")
@common_options
def show(stream: str, number: int | None, python: bool, as_json: bool) -> None:
    """Show a contract: the fields that come in, the steps, and the clean event that goes out.

    That is what its file says; the first lines tell what is published of it.

    \b
      clearwell contract show flights
      clearwell contract show flights --python
    """
    path = contracts.contract_file(schemas_folder(), stream, number)
    if python:
        source = contracts.show_python(path)
        emit(as_json, {"python": source}, lambda: source)
        return
    details = contracts.show_contract(path)
    with platform_if_any() as platform:
        published = published_versions(platform)
    version = None if published is None else published.get((details.stream, details.version))
    said = "?" if published is None else describe_publication(version, text := contract_text(path))
    value = msgspec.to_builtins(details) | {"published": None if version is None else _published(version, text)}
    emit(as_json, value, lambda: render_contract(details, said))


@contract.command()
@click.argument("stream")
@click.option("--old", type=click.IntRange(1, 9_999), help="Default: the version before the new one.")
@click.option("--new", type=click.IntRange(1, 9_999), help="Default: the highest version.")
@json_option
def compare(stream: str, old: int | None, new: int | None, as_json: bool) -> None:
    """Show what differs between two versions, and whether readers of the old one can read the new one.

    \b
      clearwell contract compare flights
      clearwell contract compare flights --old 1 --new 3
    """
    comparison = contracts.compare_versions(schemas_folder(), stream, old, new)
    emit(as_json, comparison, lambda: _render_comparison(comparison))


def _render_comparison(comparison: contracts.ContractComparison) -> str:
    lines = [
        f"{'breaks' if difference.breaks else 'fine':<6}  {f'{difference.field} {difference.what}'.strip()}"
        for difference in comparison.differences
    ]
    verb = "can" if comparison.readable else "can't"
    return "\n".join([*lines, f"Readers of {comparison.stream} v{comparison.old} {verb} read v{comparison.new}."])


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
    results = contracts.run_tests(contracts.contract_file(schemas_folder(), stream, number))
    failed = sum(not result.passed for result in results)
    tests = [{"name": result.name, "passed": result.passed, "problems": result.problems} for result in results]
    counts = {"passed": len(results) - failed, "failed": failed}
    emit(as_json, {"tests": tests} | counts, lambda: _render_tests(results))
    if failed:
        ctx.exit(1)


def _render_tests(results: Sequence[ExampleResult]) -> str:
    if not results:
        return "The contract carries no examples: write some under `tests:`."
    lines = []
    for result in results:
        lines.append(f"{'passed' if result.passed else 'FAILED'}  {result.name}")
        lines += [f"        {result.location}: {problem}." for problem in result.problems]
    return "\n".join([*lines, f"{sum(example_result.passed for example_result in results)} of {len(results)} passed."])


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
