"""Any Singer tap as a source: its RECORD messages become events, its STATE messages positions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from clearwell.egress import VARIABLE
from clearwell.errors import ClearwellError, ConfigError, nearest
from clearwell.settings import home_folder
from clearwell.source import (
    HEARTBEAT_SECONDS,
    Batch,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
)
from connectors.samples import json_objects
from connectors.singer.catalog import contract_types, selected, stream_names
from connectors.singer.environment import executable
from connectors.singer.messages import Gathering, SingerBatch, SingerPosition
from connectors.singer.tap import Tap

SAMPLE = 100
SAMPLE_SECONDS = 30.0
GATHER_SECONDS = 0.5
"""Records wait so long for more, though a STATE covers them: each batch costs a round trip to Kafka, and a save."""


class SingerConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tap to run, and how.

    A record is an event as the tap wrote it. The tap's last STATE message is where it goes on: what it wrote since
    then comes again after a crash. Without `id_field` an event's id is made of the whole record, so that it comes
    again with the same one; of equal records of a stream without keys, it also holds which one since the last STATE
    it is.
    """

    tap: Annotated[str, Meta(description="the tap's command, such as `tap-github`; CLEARWELL_TAPS must allow it.")]
    stream: Annotated[
        str,
        Meta(
            description="the one of the tap's streams to read; `clearwell connector discover` lists them. A tap's "
            "stream goes into one of ours, so that each has its contract: register a connector for each."
        ),
    ]
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is an event's id, for records that change while their id should not, "
            "such as by the time when the tap read them."
        ),
    ] = None
    pip: Annotated[
        str | None,
        Meta(
            description="a pip requirement, such as `meltanolabs-tap-postgres==0.10.0`, to install it from, into a "
            "virtual environment of its own; without it the command must be on the PATH."
        ),
    ] = None
    config: Annotated[dict[str, Any], Meta(description="the tap's own settings; write secrets as references.")] = {}
    every: (
        Annotated[
            float,
            Meta(
                gt=0, description="seconds after which to run the tap again; left out, reading ends when the tap does."
            ),
        ]
        | None
    ) = None
    patience: Annotated[float, Meta(gt=0, description="seconds without any message after which a tap is ended.")] = (
        900.0
    )
    batch_events: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="records taken together at most, over as many STATE messages as the tap writes within half a "
            "second.",
        ),
    ] = 5_000

    def __repr__(self) -> str:  # invariant 10: `config` may hold anything
        return f"SingerConfig(tap={self.tap!r}, stream={self.stream!r})"


class SingerSource:
    """Runs any Singer tap as a process and reads what it writes."""

    name: ClassVar[str] = "singer"
    Config: ClassVar[type[SourceConfig]] = SingerConfig
    Position: ClassVar[type[SourcePosition]] = SingerPosition

    def __init__(self, config: SingerConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._closed = asyncio.Event()
        self._records = 0
        self._gathering: Gathering | None = None

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field; without one an id is a hash of the record."""
        return (self._config.id_field or "*",)

    def check(self) -> None:
        """Install the tap where that is asked for, and prove that it offers the stream."""
        self._catalog()

    def warnings(self) -> list[str]:
        """A tap is a program that connects by itself: nothing of ours can judge where to."""
        warning = (
            f"{self._config.tap} connects to what its `config` names, whatever {VARIABLE} says: only a firewall holds "
            "what it may reach."
        )
        return [warning]

    def discover(self) -> list[DiscoveredStream]:
        """Every stream the tap offers, with the types its schema says; sample records of the one to read."""
        command, catalog = self._catalog()
        sample = asyncio.run(self._sample(command, catalog))
        return [
            DiscoveredStream(name, contract_types(catalog, name), sample if name == self._config.stream else ())
            for name in stream_names(catalog)
        ]

    async def read(self, after: SingerPosition | None) -> AsyncIterator[Batch]:
        """Batches of records; ends with the tap, unless `every` is set.

        Raises ConfigError for a tap that writes what is no Singer message, Retryable for one that fails.
        """
        command, catalog = await asyncio.to_thread(self._catalog)
        position = after
        while not self._closed.is_set():
            async with aclosing(self._run(command, catalog, position)) as run:
                async for events, position in run:
                    yield events, position
            if self._config.every is None:
                return
            again = time.monotonic() + self._config.every
            while (left := again - time.monotonic()) > 0 and not self._closed.is_set():
                await self._pause(left)
                yield [], position

    async def close(self) -> None:
        """Do not run the tap again. A running one is ended when reading is."""
        self._closed.set()

    def count(self) -> Count:
        """RECORD messages of the stream that its tap has written, over all runs."""
        return Count(self._records + (0 if self._gathering is None else self._gathering.records))

    def between(self, old: SingerPosition | None, new: SingerPosition | None) -> str:
        """Only the tap can tell."""
        if new is None:
            return f"{self._config.tap} would read {self._config.stream} from its beginning again."
        return f"{self._config.tap} would go on from the given state; only the tap knows what lies between."

    async def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, but at most as long as a source may be silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, HEARTBEAT_SECONDS / 2)):
                await self._closed.wait()

    def _catalog(self) -> tuple[Path, dict[str, Any]]:
        """The tap's command, and its catalog with the one stream selected."""
        command = executable(self._config.tap, self._config.pip, home_folder())
        tap = Tap(command, self._config.config, self._config.patience)
        catalog = tap.discover()
        known = stream_names(catalog)
        if self._config.stream not in known:
            hint = nearest(self._config.stream, known) or f" It offers: {', '.join(known) or 'none'}."
            raise ConfigError(f'The tap {self._config.tap} has no stream "{self._config.stream}".{hint}')
        return command, selected(catalog, self._config.stream)

    async def _run(
        self, command: Path, catalog: dict[str, Any], after: SingerPosition | None
    ) -> AsyncGenerator[SingerBatch, None]:
        """One run of the tap."""
        tap = Tap(command, self._config.config, self._config.patience)
        gathering = Gathering(self._config.stream, self._config.id_field, self._config.batch_events, after)
        self._records, self._gathering = self.count().read, gathering
        spoke = time.monotonic()
        try:
            async with tap.running(catalog, None if after is None else after.state) as blocks:
                async for lines in blocks:
                    for line in lines:
                        if gathering.add(line):
                            yield gathering.take()
                            spoke = time.monotonic()
                    waited = time.monotonic() - spoke
                    if waited >= (GATHER_SECONDS if gathering.covered else HEARTBEAT_SECONDS / 2):
                        yield gathering.take()
                        spoke = time.monotonic()
        except ClearwellError:
            for batch in gathering.take_to_state():  # a tap that fails again and again still gets on
                yield batch
            raise
        for batch in gathering.take_rest():
            yield batch

    async def _sample(self, command: Path, catalog: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
        sample: list[SourceEvent] = []
        async with aclosing(self._run(command, catalog, None)) as run:
            with suppress(TimeoutError):  # a slow tap: what came in time is the sample
                async with asyncio.timeout(SAMPLE_SECONDS):
                    async for events, _ in run:
                        sample += events
                        if len(sample) >= SAMPLE:
                            break
        return json_objects(sample[:SAMPLE])
