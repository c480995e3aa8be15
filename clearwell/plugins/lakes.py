"""Where a lake is: the platform's own, or a registered one."""

from __future__ import annotations

from clearwell.destinations.lake.root import LakeConfig, Root
from clearwell.plugins.spec import decode
from clearwell.registry import destinations
from clearwell.registry.database import Registry
from clearwell.secret_references import resolve
from clearwell.settings import Settings

KIND = "lake"


def lake_root(settings: Settings, name: str | None) -> Root:
    """The root of the registered store `lake.<name>`; the platform's own where `name` is None.

    Raises ConfigError when none is registered or a reference leads nowhere, Retryable when the registry is not there.
    """
    if name is None:
        return Root.of(settings)
    registry = Registry(settings.postgres)
    try:
        with registry.session() as session:
            stored = destinations.get(session, KIND, name)
    finally:
        registry.close()
    resolved, _ = resolve(stored.config, who=f"The lake {name}")
    return Root.of(settings, decode(resolved, LakeConfig, f"the lake {name}"))
