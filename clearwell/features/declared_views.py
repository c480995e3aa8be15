"""The feature views that contracts declare. Without Feast, and without a stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clearwell.contract.feature_views import views_of
from clearwell.contract.features import FeatureView
from clearwell.contract.load import newest_contracts
from clearwell.contract.model import CleanSchema, Contract
from clearwell.contract.routes import check_shared
from clearwell.errors import ConfigError, nearest
from clearwell.steps import bind


@dataclass(frozen=True, slots=True)
class DeclaredView:
    """A view, the contract that declares it, and the clean schema its fields are of."""

    view: FeatureView
    contract: Contract
    schema: CleanSchema


def declared_views(schemas: Path) -> list[DeclaredView]:
    """The views of the highest version of each stream, by name: those that have a deliverer.

    Raises ConfigError when a contract is wrong, or two streams share a view.
    """
    views: list[DeclaredView] = []
    newest = newest_contracts(schemas)
    check_shared(newest)
    for contract in newest:
        schema = bind(contract).schema
        views += [DeclaredView(view, contract, schema) for view in views_of(contract, schema)]
    return sorted(views, key=lambda declared: declared.view.name)


def find_view(schemas: Path, name: str) -> DeclaredView:
    """The view called `name`. Raises ConfigError with the nearest name, or as `declared_views`."""
    views = {declared.view.name: declared for declared in declared_views(schemas)}
    if name not in views:
        hint = nearest(name, views) or (f" There are: {', '.join(views)}." if views else "")
        raise ConfigError(f'No contract has a feature view "{name}".{hint}', code="no_such_view")
    return views[name]
