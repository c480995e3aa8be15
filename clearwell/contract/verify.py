"""The last checks of a contract, which need the clean schema that its steps lead to."""

from __future__ import annotations

from clearwell.contract.model import CleanSchema, Contract
from clearwell.contract.problems import Problems
from clearwell.contract.routes import check_routes
from clearwell.contract.values import width_misfit


def verify(contract: Contract, schema: CleanSchema) -> None:
    """Raise ContractProblems with all that is wrong with routes and with the widths of generalised fields."""
    problems = Problems()
    check_routes(contract, schema, problems)
    for field in schema.fields:
        if field.privacy is not None and field.privacy.width is not None:
            wrong = width_misfit(field.type, field.privacy.width, field.scale)
            if wrong:
                problems.add(f'"{field.name}" after the steps: {wrong}.', field.location or contract.location)
    problems.raise_any()
