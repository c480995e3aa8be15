"""What may be done to feature views: Feast told of them, histories made ready to train on, their files joined.

Refreshing and compacting take minutes: who began it is audited before it begins, so that no transaction of the registry
is kept open as long. Events that come meanwhile are in nobody's way; another definition of the view is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from clearwell.contract.features import FeatureView
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.features import upkeep
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.upkeep import CompactionPlan, ViewCompaction
from clearwell.errors import ConfigError
from clearwell.features import refresh
from clearwell.features.declared_views import declared_views, find_view
from clearwell.features.feast_config import PROJECT
from clearwell.features.refresh import RefreshPlan, RefreshResult
from clearwell.features.registry_plan import RegistryPlan
from clearwell.registry import audit

__all__ = [
    "PROJECT",
    "CompactionPlan",
    "RefreshPlan",
    "RefreshResult",
    "RegistryPlan",
    "ViewCompaction",
    "apply_views",
    "compact_view",
    "plan_apply",
    "plan_compact",
    "plan_refresh",
    "refresh_view",
    "require_feast",
]


def plan_apply(platform: Platform, project: str = PROJECT) -> RegistryPlan:
    """What Feast's registry does not know yet of what contracts declare.

    Raises ConfigError (code "feast_missing") without Feast, or when a definition can't be in it.
    """
    declared = declared_views(platform.settings.schemas)
    require_feast()
    from clearwell.features.feast_registry import plan_registry  # imports Feast: 3 s

    return plan_registry(platform.settings, declared, project)


def apply_views(platform: Platform, actor: Actor, plan: RegistryPlan) -> str:
    """Tell Feast, and make the tables of new views; rows are never removed. Returns the path of feature_store.yaml.

    Raises ConfigError (code "plan_is_old") when something else would have to change now, and when a table can't fit.
    """
    declared = declared_views(platform.settings.schemas)
    require_feast()
    from clearwell.features.feast_registry import apply_registry

    with platform.changing(actor) as session:
        file = apply_registry(platform.settings, declared, plan)
        if plan.changes:
            detail = {"changes": [f"{change.action} {change.kind} {change.name}" for change in plan.changes]}
            audit.record(session, "apply", f"features/{plan.project}", detail)
    return str(file)


def plan_refresh(platform: Platform, names: Sequence[str] = (), *, full: bool = False) -> list[RefreshPlan]:
    """What would be read to bring views, by default all, up to date; `full`: all rows anew.

    Raises ConfigError without such a view, or where it was never delivered to.
    """
    return [refresh.plan_refresh(platform.settings, view, full=full) for view in _views(platform, names)]


def plan_compact(platform: Platform, names: Sequence[str] = ()) -> list[CompactionPlan]:
    """Which files of views, by default all, would be joined, and which tiles removed. Raises as `plan_refresh`."""
    plans = []
    for view in _views(platform, names):
        with connect(platform.settings.postgres, view) as session:
            plans.append(upkeep.plan(session, view, datetime.now(UTC)))
    return plans


def refresh_view(platform: Platform, actor: Actor, plan: RefreshPlan) -> RefreshResult:
    """Make what Feast joins of a view; readers have the old file or the new one, whole. Blocks.

    Raises ConfigError (code "plan_is_old") when the view is defined in another way now.
    """
    view = _planned_view(platform, plan)
    _begin(platform, actor, "refresh", plan)
    return refresh.refresh(platform.settings, view, full=plan.whole)


def compact_view(platform: Platform, actor: Actor, plan: CompactionPlan) -> ViewCompaction:
    """Join files and remove tiles, as of now. Blocks. Raises as `refresh_view`; Retryable while another does it."""
    view = _planned_view(platform, plan)
    _begin(platform, actor, "compact", plan)
    with connect(platform.settings.postgres, view) as session:
        return upkeep.compact(session, Folder.root(platform.settings), view, datetime.now(UTC))


def _begin(platform: Platform, actor: Actor, action: str, plan: RefreshPlan | CompactionPlan) -> None:
    with platform.changing(actor) as session:
        audit.record(session, action, f"features/{plan.view}", msgspec.to_builtins(plan))


def _views(platform: Platform, names: Sequence[str]) -> list[FeatureView]:
    schemas = platform.settings.schemas
    views = [find_view(schemas, name).view for name in names] or [view.view for view in declared_views(schemas)]
    if not views:
        raise ConfigError("No contract has a feature view.", code="no_such_view")
    return views


def _planned_view(platform: Platform, plan: RefreshPlan | CompactionPlan) -> FeatureView:
    view = find_view(platform.settings.schemas, plan.view).view
    if view.digest() != plan.digest:
        raise ConfigError(
            f'The view "{plan.view}" has changed since this was planned: its definition was {plan.digest}, and is '
            f"{view.digest()}. Plan again.",
            code="plan_is_old",
        )
    return view


def require_feast() -> None:
    """Raise ConfigError (code "feast_missing") where Feast is not installed."""
    if importlib.util.find_spec("feast") is None:
        raise ConfigError("Feast is not installed: pip install 'clearwell[feast]'.", code="feast_missing")
