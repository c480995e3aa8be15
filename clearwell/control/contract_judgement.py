"""What publishing a contract's text would do, beside what is published of its stream. Pure: texts in, a verdict out.

A published version is read by models and stores, so its text never changes under them. What old readers can read may
be published as a new revision of the version when that is asked for; anything else needs a new version (decision 0041).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from clearwell.contract.compare import Difference, compare
from clearwell.contract.load import load_text
from clearwell.contract.model import CleanSchema, Contract
from clearwell.contract.problems import Problems
from clearwell.contract.verify import verify
from clearwell.destinations.versions import Version, check_versions
from clearwell.errors import ConfigError, ContractError, Hint
from clearwell.registry.contracts import PublishedContract, digest_of
from clearwell.steps import bind


class Outcome(StrEnum):
    """What would become of a contract: restored is a retired one whose text has stayed the same."""

    NEW_VERSION = "new version"
    NEW_REVISION = "new revision"
    RESTORED = "restored"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PlannedContract:
    """What would become of one file; `basis` is what was published of its stream, as `basis_of` has it.

    `differences`: to the revision before, or for a new version to the one before. `changed_lines`: of the two texts.
    `refusal` says why it is not published. `warnings`: a sentence each.
    """

    file: str
    text: str
    stream: str
    version: int
    revision: int
    outcome: Outcome
    basis: Sequence[tuple[int, int, bool]] = ()
    differences: Sequence[Difference] = ()
    changed_lines: Sequence[str] = ()
    refusal: ConfigError | None = None
    warnings: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return digest_of(self.text)

    @property
    def changes(self) -> bool:
        """Whether publishing it would change anything."""
        return self.outcome not in (Outcome.UNCHANGED, Outcome.REFUSED)

    @property
    def is_readable(self) -> bool:
        """Whether readers of what is compared in `differences` can read this text."""
        return not any(difference.breaks for difference in self.differences)


def basis_of(published: Sequence[PublishedContract]) -> list[tuple[int, int, bool]]:
    """What a plan rests on: version, revision and whether it is retired, of all that is published of a stream."""
    return [(contract.version, contract.revision, contract.retired_at is not None) for contract in published]


def judge(path: Path, text: str, published: Sequence[PublishedContract], *, minor: bool) -> PlannedContract:
    """What publishing `text`, of the file `path`, would do.

    `published`: all of its stream, by version and revision. `minor`: a changed text is meant to be a new revision.
    """
    try:
        contract = load_text(path, text)
        schema = bind(contract).schema
        verify(contract, schema)
        _require_containers(Version(contract, schema), published)
    except ContractError as error:
        return refused_file(path, error, text)
    plan = PlannedContract(str(path), text, contract.stream, contract.version, 0, Outcome.NEW_VERSION)
    same = [known for known in published if known.version == contract.version]
    if same:
        return _judge_text(plan, schema, same[-1], _highest(published), minor)
    return _judge_version(plan, schema, published)


def refused_file(path: Path, error: ContractError, text: str = "") -> PlannedContract:
    """A file that holds no contract that could be published."""
    return PlannedContract(str(path), text, path.absolute().parent.name, 0, 0, Outcome.REFUSED, refusal=error)


def _judge_text(
    plan: PlannedContract, schema: CleanSchema, known: PublishedContract, highest: int, minor: bool
) -> PlannedContract:
    """The version is published: is the text the same, or at least one that its readers can read."""
    plan = replace(plan, revision=known.revision)
    if known.digest == plan.digest:
        return replace(plan, outcome=Outcome.UNCHANGED if known.retired_at is None else Outcome.RESTORED)
    lines = tuple(
        line.rstrip("\n")
        for line in difflib.unified_diff(known.text.splitlines(), plan.text.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    )
    try:
        differences = compare(_schema(known.contract()), schema).differences
    except ContractError as error:
        return _refuse(replace(plan, changed_lines=lines), f"{error} So nobody can tell who could read its change.")
    plan = replace(plan, differences=differences, changed_lines=lines)
    changed = f"{plan.file} has changed since {known.name} was published of it"
    if not plan.is_readable:
        breaks = "; ".join(_worded(difference) for difference in differences if difference.breaks)
        new = plan.version if plan.version > highest else highest + 1
        return _refuse(plan, f"{changed}, and its readers can't read the new text ({breaks}): make it v{new}.yaml.")
    if not minor:
        hint = Hint("contracts.publish_minor", plan.file)
        return _refuse(plan, f"{changed}; a published text stays as it is. Readers can read the new one.", hint)
    return replace(plan, outcome=Outcome.NEW_REVISION, revision=known.revision + 1)


def _judge_version(
    plan: PlannedContract, schema: CleanSchema, published: Sequence[PublishedContract]
) -> PlannedContract:
    highest = _highest(published)
    if plan.version < highest:
        refusal = ConfigError(
            f"{plan.stream} v{highest} is published, so v{plan.version} comes too late: versions only grow.",
            code="version_is_old",
        )
        return replace(plan, outcome=Outcome.REFUSED, refusal=refusal)
    if not published:
        return plan
    try:
        comparison = compare(_schema(published[-1].contract()), schema)
    except ContractError as error:
        return replace(plan, warnings=(f"{error} So nobody can tell whether its readers can read v{plan.version}.",))
    plan = replace(plan, differences=comparison.differences)
    if plan.is_readable:
        return plan
    breaks = "; ".join(_worded(difference) for difference in comparison.differences if difference.breaks)
    warning = f"Readers of v{comparison.old} can't read it ({breaks}): backfill it before anyone switches."
    return replace(plan, warnings=(warning,))


def _require_containers(new: Version, published: Sequence[PublishedContract]) -> None:
    """Raise ContractProblems where a table that older texts have filled can't take this one's rows."""
    older: dict[int, Version] = {}
    for known in published:
        if known.version < new.contract.version:
            with suppress(ContractError):  # told where the two are compared
                contract = known.contract()
                older[known.version] = Version(contract, _schema(contract))
    problems = Problems()
    check_versions(new, older.values(), problems)
    problems.raise_any()


def _refuse(plan: PlannedContract, sentence: str, hint: Hint | None = None) -> PlannedContract:
    refusal = ConfigError(sentence, code="contract_changed", hint=hint)
    return replace(plan, outcome=Outcome.REFUSED, refusal=refusal)


def _highest(published: Sequence[PublishedContract]) -> int:
    return max((known.version for known in published), default=0)


def _schema(contract: Contract) -> CleanSchema:
    return bind(contract).schema


def _worded(difference: Difference) -> str:
    return f"{difference.field} {difference.what}".strip()
