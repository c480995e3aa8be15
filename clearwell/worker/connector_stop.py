"""How a connector that sends too much of what is rejected is stopped without its neighbours."""

from __future__ import annotations

import asyncio

from clearwell.backoff import retry_until_available_async
from clearwell.registry import Registry, connectors


class ConnectorStop:
    """Stops connectors of one stream, in the registry."""

    def __init__(self, registry: Registry, stream: str) -> None:
        """Nothing is asked of the registry before somebody must be stopped."""
        self._registry = registry
        self._stream = stream

    async def __call__(self, connector: str, why: str) -> bool:
        """Have a connector read no more until a person resumes it; whether that is enough.

        It is not where the stream has no other connector: then the stream itself stops, before it fills the dead
        letters with what a wrong contract rejects. A registry that is away is waited for (invariant 6).
        """
        return await retry_until_available_async(lambda: asyncio.to_thread(self._stop, connector, why))

    def _stop(self, connector: str, why: str) -> bool:
        with self._registry.session() as session:
            known = {
                connector.name for connector in connectors.list_connectors(session) if connector.stream == self._stream
            }
            if connector not in known or len(known) == 1:
                return False
            connectors.note_end(session, connector, connectors.State.FAILING, why)
            return True
