"""What tests stand on: suites that prove sources and destinations, a source that misbehaves.

The suites need pytest and jsonschema (`pip install clearwell[testing]`); the rest of the package does not, so they are
imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearwell.testing.clock import Clock
    from clearwell.testing.contracts import minimal_contract
    from clearwell.testing.destination_cases import DestinationCase, HasPoison, HasSecrets
    from clearwell.testing.destinations import DestinationSuite
    from clearwell.testing.hostile import Fault, HostileSource
    from clearwell.testing.memory_log import MemoryLog
    from clearwell.testing.platform import RejectedEvent, TestPlatform
    from clearwell.testing.push_sources import PushCase, PushSourceSuite
    from clearwell.testing.source_cases import HOSTILE, CarriesAnything, SourceCase
    from clearwell.testing.sources import SourceSuite

__all__ = [
    "HOSTILE",
    "CarriesAnything",
    "Clock",
    "DestinationCase",
    "DestinationSuite",
    "Fault",
    "HasPoison",
    "HasSecrets",
    "HostileSource",
    "MemoryLog",
    "PushCase",
    "PushSourceSuite",
    "RejectedEvent",
    "SourceCase",
    "SourceSuite",
    "TestPlatform",
    "minimal_contract",
]

_PLACES = {
    "HOSTILE": "source_cases",
    "CarriesAnything": "source_cases",
    "Clock": "clock",
    "DestinationCase": "destination_cases",
    "DestinationSuite": "destinations",
    "Fault": "hostile",
    "HasPoison": "destination_cases",
    "HasSecrets": "destination_cases",
    "HostileSource": "hostile",
    "MemoryLog": "memory_log",
    "PushCase": "push_sources",
    "PushSourceSuite": "push_sources",
    "RejectedEvent": "platform",
    "SourceCase": "source_cases",
    "SourceSuite": "sources",
    "TestPlatform": "platform",
    "minimal_contract": "contracts",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
