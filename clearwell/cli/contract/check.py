"""What `clearwell contract check` finds out about each file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from clearwell.cli.output import counted
from clearwell.contract.compare import Comparison, compare
from clearwell.contract.load import load
from clearwell.contract.model import CleanSchema, Contract
from clearwell.contract.problems import ContractProblems, Problems
from clearwell.contract.routes import check_shared
from clearwell.contract.verify import verify
from clearwell.destinations.versions import Version, check_versions
from clearwell.errors import ClearwellError, ContractError, Location
from clearwell.steps import bind


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Checked:
    """The result for one file. `breaks`: what readers of the version before can't bear; None without such a version."""

    file: str
    summary: str
    problems: tuple[Problem, ...] = ()
    breaks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Good:
    checked: Checked
    contract: Contract = field(repr=False)


def check_file(path: Path) -> Checked | _Good:
    """Load the contract in `path` and check all that can be checked without servers."""
    try:
        contract = load(path)
        schema = bind(contract).schema
        verify(contract, schema)
    except ContractError as error:
        return _wrong(str(path), error)
    older = _older_versions(path, contract)
    problems = Problems()
    check_versions(Version(contract, schema), older, problems)
    if problems:
        return _wrong(str(path), ContractProblems(problems.found()))
    before = next((one.schema for one in older if one.contract.version == contract.version - 1), None)
    comparison = compare(before, schema) if before is not None else None
    return _Good(Checked(str(path), _summary(path, contract, schema, comparison), (), _breaks(comparison)), contract)


def check_together(found: Sequence[Checked | _Good]) -> list[Checked]:
    """The results, with what is wrong between contracts (two streams into one table) added to the first."""
    results = [one.checked if isinstance(one, _Good) else one for one in found]
    try:
        check_shared(one.contract for one in found if isinstance(one, _Good))
    except ContractError as error:
        wrong = _wrong("", error).problems
        files = {problem.file for problem in wrong}
        results = [
            replace(one, summary=f"{one.file}: wrong", problems=tuple(p for p in wrong if p.file == one.file))
            if one.file in files
            else one
            for one in results
        ]
    return results


def _wrong(file: str, error: ContractError) -> Checked:
    problems = Problems()
    problems.add_error(error, Location(file, 1))
    found = tuple(Problem(where.file, where.line, where.column, message) for where, message in problems.found())
    return Checked(file, f"{file}: {counted(len(found), 'error')}", found)


def _older_versions(path: Path, contract: Contract) -> list[Version]:
    """The versions before it that are there and right; what is wrong with others is told where they are checked."""
    found = []
    for number in range(1, contract.version):
        older = path.with_name(f"v{number}.yaml")
        if older.is_file():
            with suppress(ClearwellError):
                loaded = load(older)
                found.append(Version(loaded, bind(loaded).schema))
    return found


def _breaks(comparison: Comparison | None) -> tuple[str, ...] | None:
    if comparison is None:
        return None
    return tuple(f"{one.field} {one.what}".strip() for one in comparison.differences if one.breaks)


def _summary(path: Path, contract: Contract, schema: CleanSchema, comparison: Comparison | None) -> str:
    protected = sum(one.privacy is not None for one in schema.fields)
    routes = ", ".join(route.to for route in (*contract.routes, *contract.archives)) or "no destination"
    text = (
        f"{path}: right. {contract.stream} v{contract.version}: {len(contract.fields)} fields in, "
        f"{len(contract.steps)} steps, {len(schema.fields)} fields out ({protected} protected), to {routes}; "
        f"{len(contract.examples)} examples."
    )
    if comparison is None:
        return text
    if comparison.readable:
        return f"{text} Readers of v{comparison.old} can read it."
    broken = "; ".join(_breaks(comparison) or ())
    return f"{text} Readers of v{comparison.old} can't read it ({broken}): backfill it before anyone switches."
