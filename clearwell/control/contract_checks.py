"""What a check finds out about contracts: all that can be checked without servers, within and between files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clearwell.contract.compare import Comparison, compare
from clearwell.contract.load import load
from clearwell.contract.model import CleanSchema, Contract
from clearwell.contract.problems import ContractProblems, Problems
from clearwell.contract.routes import check_shared
from clearwell.contract.verify import verify
from clearwell.destinations.versions import Version, check_versions
from clearwell.errors import ClearwellError, ContractError, Location
from clearwell.steps import bind


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and the line that it is in."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class CheckedContract(msgspec.Struct, frozen=True):
    """The result for one file. `breaks`: what readers of the version before can't bear; None without such a version."""

    file: str
    summary: str
    problems: tuple[Problem, ...] = ()
    breaks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """`contract` is None where something is wrong with it."""

    result: CheckedContract
    contract: Contract | None = None


def check_contracts(paths: Sequence[Path]) -> list[CheckedContract]:
    """Check each file, and those that are valid together (two streams into one table, say): told of the first."""
    checked = [_check(path) for path in paths]
    results = [checked_file.result for checked_file in checked]
    try:
        check_shared(checked_file.contract for checked_file in checked if checked_file.contract is not None)
    except ContractError as error:
        problems = _invalid("", error).problems
        files = {problem.file for problem in problems}
        results = [
            CheckedContract(result.file, f"{result.file}: invalid", tuple(p for p in problems if p.file == result.file))
            if result.file in files
            else result
            for result in results
        ]
    return results


def _check(path: Path) -> _Checked:
    try:
        contract = load(path)
        schema = bind(contract).schema
        verify(contract, schema)
    except ContractError as error:
        return _Checked(_invalid(str(path), error))
    older = _older_versions(path, contract)
    problems = Problems()
    check_versions(Version(contract, schema), older, problems)
    if problems:
        return _Checked(_invalid(str(path), ContractProblems(problems.found())))
    before = next(
        (checked_file.schema for checked_file in older if checked_file.contract.version == contract.version - 1), None
    )
    comparison = compare(before, schema) if before is not None else None
    summary = _summary(path, contract, schema, comparison)
    return _Checked(CheckedContract(str(path), summary, (), _breaks(comparison)), contract)


def _invalid(file: str, error: ContractError) -> CheckedContract:
    problems = Problems()
    problems.add_error(error, Location(file, 1))
    listed = tuple(Problem(at.file, at.line, at.column, message) for at, message in problems.found())
    return CheckedContract(file, f"{file}: {len(listed)} error{'s'[: len(listed) != 1]}", listed)


def _older_versions(path: Path, contract: Contract) -> list[Version]:
    """The valid versions before it; what is wrong with others is told where they are checked."""
    versions = []
    for number in range(1, contract.version):
        older = path.with_name(f"v{number}.yaml")
        if older.is_file():
            with suppress(ClearwellError):
                loaded = load(older)
                versions.append(Version(loaded, bind(loaded).schema))
    return versions


def _breaks(comparison: Comparison | None) -> tuple[str, ...] | None:
    if comparison is None:
        return None
    return tuple(
        f"{difference.field} {difference.what}".strip() for difference in comparison.differences if difference.breaks
    )


def _summary(path: Path, contract: Contract, schema: CleanSchema, comparison: Comparison | None) -> str:
    protected = sum(field.privacy is not None for field in schema.fields)
    routes = ", ".join(route.to for route in (*contract.routes, *contract.archives)) or "no destination"
    text = (
        f"{path}: valid. {contract.stream} v{contract.version}: {len(contract.fields)} fields in, "
        f"{len(contract.steps)} steps, {len(schema.fields)} fields out ({protected} protected), to {routes}; "
        f"{len(contract.examples)} examples."
    )
    if comparison is None:
        return text
    if comparison.readable:
        return f"{text} Readers of v{comparison.old} can read it."
    broken = "; ".join(_breaks(comparison) or ())
    return f"{text} Readers of v{comparison.old} can't read it ({broken}): backfill it before anyone switches."
