"""A contract's steps, understood: each with the fields before and after it, and the clean schema at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.contract.fields import EXTRA
from clearwell.contract.model import CleanSchema, Contract, Field, StepCall, Type, UnknownFields
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.contract.problems import Problems
from clearwell.contract.verify import verify
from clearwell.errors import ContractError, nearest
from clearwell.steps.final_checks import check_ends
from clearwell.steps.scope import Scope, UnknownField, Wrong
from clearwell.steps.step import Step
from clearwell.steps.table import BY_VERB


@dataclass(frozen=True)
class BoundStep:
    """One step of a contract; `label` is "<number>.<verb>", numbered from 1 as written."""

    label: str
    call: StepCall
    step: Step
    before: Mapping[str, Field]
    after: Mapping[str, Field]


@dataclass(frozen=True)
class StepPlan:
    """The steps in order. `clear` are the fields after the last step, before privacy; `schema` is what leaves.

    `lookback` is how many raw offsets of the partition determine the memory of all steps together: each may depend on
    what the ones before it let through, so their reaches add up.
    """

    steps: tuple[BoundStep, ...]
    clear: Mapping[str, Field]
    schema: CleanSchema
    lookback: int


def bind(contract: Contract) -> StepPlan:
    """Give the contract's steps their meaning. Raises ContractError with all that is wrong, each with its line."""
    problems = Problems()
    start = {field.name: field for field in contract.fields}
    if contract.unknown_fields is UnknownFields.KEEP:
        start[EXTRA] = _extra(contract)
    bound: list[BoundStep] = []
    fields: Mapping[str, Field] = start
    failed = False
    for number, call in enumerate(contract.steps, 1):
        scope = Scope(call, fields)
        try:
            step = _understand(call)
            step.effect(scope)
        except UnknownField as error:
            # After a step that failed, a field that is not there may be one it would have made.
            if not failed:
                problems.add_error(scope.error(error), call.location)
            failed = True
        except Wrong as error:
            problems.add_error(scope.error(error), call.location)
            failed = True
        except ContractError as error:
            problems.add_error(error, call.location)
            failed = True
        else:
            bound.append(BoundStep(f"{number}.{call.name}", call, step, fields, scope.fields()))
            fields = scope.fields()
    if not failed:
        check_ends(contract, fields, problems)
    problems.raise_any()
    schema = _schema(contract, fields)
    verify(contract, schema)
    return StepPlan(tuple(bound), fields, schema, sum(bound_step.step.lookback() for bound_step in bound))


def _extra(contract: Contract) -> Field:
    """Where `unknown_fields: keep` gathers the rest; sealed where the contract protects anything (invariant 6).

    Nobody has said what an undeclared field holds: beside protected ones it may be the same under another name.
    """
    protects = any(field.privacy for field in contract.fields) or any(
        _has_privacy(call.args) for call in contract.steps
    )
    privacy = Privacy(PrivacyKind.ENCRYPT) if protects else None
    return Field(EXTRA, Type.JSON, description="Fields that the contract does not declare.", privacy=privacy)


def _has_privacy(args: object) -> bool:
    return isinstance(args, dict) and "privacy" in args


def _understand(call: StepCall) -> Step:
    if call.name not in BY_VERB:
        raise Wrong(f'There is no step "{call.name}".{nearest(call.name, BY_VERB)}')
    return BY_VERB[call.name].parse(call.args)


def _schema(contract: Contract, fields: Mapping[str, Field]) -> CleanSchema:
    leaving = tuple(f for f in fields.values() if f.privacy is None or f.privacy.kind.traits.leaves)
    return CleanSchema(
        contract.stream,
        contract.version,
        leaving,
        contract.key,
        contract.event_id,
        contract.event_time,
        contract.subject,
    )
