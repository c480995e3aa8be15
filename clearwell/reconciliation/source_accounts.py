"""The sources' side of the accounts: what each connector of a stream counted at its source, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass

from clearwell.registry import Registry, State, connectors, positions
from clearwell.registry.positions import Counts


@dataclass(frozen=True, slots=True)
class SourceBalance:
    """One connector: `counts` as they were saved with its position; `difference`: one sentence where they differ."""

    name: str
    state: State
    counts: Counts
    difference: str | None

    @property
    def balanced(self) -> bool:
        """All that the source counted became events."""
        return self.difference is None


def source_balances(registry: Registry, stream: str) -> tuple[SourceBalance, ...]:
    """The connectors of a stream, by name. Blocks; raises as `Registry.session`."""
    with registry.session() as session:
        saved = positions.load_all(session)
        return tuple(
            SourceBalance(
                connector.name, connector.state, saved[connector.name].counts, saved[connector.name].difference()
            )
            for connector in connectors.list_connectors(session)
            if connector.stream == stream
        )
