"""The schemas folder publishes itself: when the stack starts, and when a connector is registered.

Only what is new. A file that was changed in place, or is wrong, is told and is in nobody's way; what a person has
retired stays retired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from clearwell.contract.load import contract_files, read
from clearwell.control.contract_judgement import Outcome, PlannedContract, judge, refused_file
from clearwell.control.contract_publication import Publication, plan_publish, publish_stream
from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, ContractError


def plan_schemas(platform: Platform, files: Sequence[Path] | None = None) -> Publication:
    """What of a schemas folder would be published, by default of all of it, which need not be there. Blocks.

    Older versions that were never published, and those that are retired, are left out. Raises as `plan_publish`.
    """
    plan = plan_publish(platform, files_of(platform.settings.schemas) if files is None else files)
    return Publication([planned for planned in plan.contracts if not _is_past(planned)])


def plan_first_schemas(folder: Path) -> Publication:
    """As `plan_schemas` for a platform that has no registry yet."""
    return Publication([_judge_first(path) for path in files_of(folder)])


def apply_schemas(platform: Platform, actor: Actor, plan: Publication) -> Publication:
    """Publish what is new, each stream whatever becomes of the others; what could not be is refused in the result.

    Blocks. Raises Retryable when a server is not well.
    """
    results: list[PlannedContract] = []
    for stream, group in groupby(plan.contracts, lambda planned: planned.stream):
        plans = list(group)
        accepted = [planned for planned in plans if planned.outcome is not Outcome.REFUSED]
        try:
            publish_stream(platform, actor, stream, accepted)
        except ConfigError as error:
            plans = [_refuse(planned, error) if planned in accepted else planned for planned in plans]
        results += plans
    return Publication(results)


def files_of(folder: Path) -> list[Path]:
    """The contract files of a folder, none where it is not there."""
    return contract_files(folder) if folder.is_dir() else []


def _is_past(planned: PlannedContract) -> bool:
    refusal = planned.refusal
    return planned.outcome is Outcome.RESTORED or (refusal is not None and refusal.code == "version_is_old")


def _judge_first(path: Path) -> PlannedContract:
    try:
        return judge(path, read(path), (), minor=False)
    except ContractError as error:
        return refused_file(path, error)


def _refuse(planned: PlannedContract, error: ConfigError) -> PlannedContract:
    return replace(planned, outcome=Outcome.REFUSED, refusal=error)
