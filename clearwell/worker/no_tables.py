"""What Faust starts for its tables, where there are none."""

from __future__ import annotations

from faust.tables import TableManager


class NoTables(TableManager):
    """Starts at once: Faust's own waits a second for tables that might still be declared."""

    async def on_start(self) -> None:
        """As Faust's, without the second. Recovery also is what seeks to where partitions start."""
        await self._update_channels()
        await self.recovery.start()
