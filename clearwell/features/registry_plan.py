"""What is to change in Feast's registry. Without importing Feast."""

from __future__ import annotations

from typing import Literal

import msgspec


class RegistryChange(msgspec.Struct, frozen=True):
    """One object of the registry that is not as the contracts say; `details` says in which way, a line each."""

    action: Literal["add", "change", "remove"]
    kind: Literal["entity", "view"]
    name: str
    details: tuple[str, ...] = ()


class RegistryPlan(msgspec.Struct, frozen=True):
    """What differs between the registry's project and the contracts, which declare so many `views`."""

    project: str
    views: int
    changes: tuple[RegistryChange, ...]
